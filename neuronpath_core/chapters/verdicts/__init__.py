"""The claims that every chapter ends with, made from its tables: a module per notebook, named as
the notebook.  Each has a function ``made_from`` whose arguments are the notebook's variables."""
