"""Chapter 19: what is left of the paper's findings when a removed neuron is not set to zero."""
