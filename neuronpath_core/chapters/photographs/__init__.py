"""Chapter 31: the paper's questions asked of models of photographs."""
