"""From CLIP to multispectral satellite images, after Zavras et al., "Mind the Modality Gap" (ISPRS 2025)."""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.2.0"


def load(source: str | Path, **options: Any) -> Any:
    """A model that is ready to use: `bandbridge.load("results/demo").classify("tile.tif", "forest, water")`.

    Args:
        source: a run's folder, a model in it, an exported folder, an encoder's name, 'local-dir:...' or 'hf-hub:...'.
        options: `device`, `precision`, `batch_size`, `text` and `composite`, see `bandbridge.use.sources.load`.

    Returns:
        A `bandbridge.use.model.Model`.
    """
    # By name, when it is called: the package is imported where torch, which takes seconds, is not installed.
    return import_module("bandbridge.use.sources").load(source, **options)
