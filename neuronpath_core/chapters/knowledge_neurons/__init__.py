"""Chapter 1: where the neurons with the largest knowledge attribution lie (Fig. 2, App. B)."""
