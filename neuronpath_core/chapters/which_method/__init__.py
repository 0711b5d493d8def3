"""Chapter 21: what each method's paths do, for what it costs, and which one to use."""
