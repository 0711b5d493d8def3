"""What hidden states, attention and memories say when they are read in the space of classes."""
