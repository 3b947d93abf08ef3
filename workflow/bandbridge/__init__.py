"""From CLIP to multispectral satellite images, after Zavras et al., "Mind the Modality Gap" (ISPRS 2025)."""

__version__ = "0.2.0"
