"""The file of an encoder's bootstrap draws: its headline in every resample, kept so that encoders can be compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.npz import load_npz, save_npz


@dataclass(frozen=True, eq=False)
class HeadlineDraws:
    """What one encoder scores on one data set, by split: the headline, and the headline of each resample.

    Attributes:
        meta: run, encoder, clip, alpha, dataset, modality, nomenclature, prompts, metric; of the draws seed, resamples
            and `n`, the number of samples by split; store_digest. Equal n, seed and resamples are the same resamples.
        values: by split, the headline on all samples.
        resampled: by split, (resamples,) float64.
    """

    meta: Mapping[str, Any]
    values: Mapping[str, float]
    resampled: Mapping[str, NDArray[np.floating]]


def save_draws(path: Path, draws: HeadlineDraws) -> None:
    """Write draws as .npz: `<split>/<metric>`, `<split>/value` and `meta` (JSON text); equal draws give equal bytes."""
    arrays: dict[str, Any] = {"meta": json.dumps(draws.meta, sort_keys=True)}
    arrays |= {f"{split}/value": value for split, value in sorted(draws.values.items())}
    arrays |= {f"{split}/{draws.meta['metric']}": found for split, found in sorted(draws.resampled.items())}
    save_npz(path, arrays)


def load_draws(path: Path) -> HeadlineDraws:
    """Read what `save_draws` wrote; a `UserError` where the file is not that."""
    arrays = load_npz(path)
    meta = json.loads(str(arrays["meta"]))
    return HeadlineDraws(
        meta,
        {split: float(arrays[f"{split}/value"]) for split in meta["n"]},
        {split: arrays[f"{split}/{meta['metric']}"] for split in meta["n"]},
    )
