"""Chapter 30: what the neurons of paths mean."""
