"""Chapter 29: images that drive single neurons (Allert et al., 2024, sections 2.4, 3.4, 4.4)."""
