"""What may be done about an image that cannot be read: stop, or leave it out and warn."""

POLICIES = ("fatal", "skip")
