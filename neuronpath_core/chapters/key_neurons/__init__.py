"""Chapter 27: the neurons that write a class, where they fire and for which images."""
