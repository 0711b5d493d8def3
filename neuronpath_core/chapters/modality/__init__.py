"""Chapter 32: which modality the neurons of a vision-language model answer to."""
