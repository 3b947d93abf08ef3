"""From CLIP to multispectral satellite images, after Zavras et al., "Mind the Modality Gap" (ISPRS 2025)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bandbridge.use.model import Model

__version__ = "0.2.0"


def load(source: str | Path, **options: Any) -> "Model":
    """A model that is ready to use: `bandbridge.load("results/demo").classify("tile.tif", "forest, water")`.

    Args:
        source: a run's folder, a model in it, an exported folder, an encoder's name, 'local-dir:...' or 'hf-hub:...'.
        options: `device`, `precision`, `batch_size`, `text` and `composite`, see `bandbridge.use.sources.load`.
    """
    from bandbridge.use import sources  # torch takes seconds

    return sources.load(source, **options)
