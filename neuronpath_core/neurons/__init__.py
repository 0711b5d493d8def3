"""What a single neuron reads, writes and means."""
