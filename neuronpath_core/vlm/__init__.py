"""A vision-language model, the scenes that it is trained on, and what its neurons fire for."""
