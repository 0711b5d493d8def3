"""Chapter 24: what tokens say of the class on the way (Vilas et al., 2023, section 5)."""
