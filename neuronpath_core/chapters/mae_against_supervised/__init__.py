"""Chapter 16: where knowledge neurons lie in supervised models and in masked autoencoders, each
trained from several seeds, and whether pre-training or scope decides it."""
