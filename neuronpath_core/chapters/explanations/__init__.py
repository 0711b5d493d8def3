"""Chapter 33: what neurons of a vision-language model are said to mean, and whether it is so (Xu et
al., 2025, sections 3.3, 4.5 and 4.6, appendices A and B)."""
