"""What neurons do together: whether a set of them suffices, whether it is a circuit, and how sure
that is."""
