"""One picture explained: read right, measured, and shown as a table, a figure and a page.

The room is not called ``explain``, which is a public name of the package.
"""
