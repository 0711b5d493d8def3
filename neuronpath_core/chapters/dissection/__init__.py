"""Chapter 28: what single neurons detect (Allert et al., 2024, sections 3.3 and 4.3)."""
