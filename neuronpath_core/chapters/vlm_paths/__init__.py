"""Chapter 34: which neurons of a vision-language model are needed (Xu et al., 2025, section 4.7),
and which path an answer takes."""
