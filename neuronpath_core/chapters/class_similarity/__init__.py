"""Chapter 5: how similar the paths of classes are, and whether they look alike (Fig. 5)."""
