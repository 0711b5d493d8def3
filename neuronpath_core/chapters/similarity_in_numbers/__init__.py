"""Chapter 14: Figure 5 in numbers.  Classes with similar paths are compared with classes of similar
attributes, embeddings and confusions."""
