"""Chapter 20: whether a few neurons suffice for a decision, whether it needs them, and which
neurons answer which question."""
