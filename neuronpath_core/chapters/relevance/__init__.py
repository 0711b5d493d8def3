"""Chapter 26: which patches matter, and whether relevance maps know."""
