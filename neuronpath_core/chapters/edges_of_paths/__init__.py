"""Chapter 22: whether anything flows along a path."""
