"""The file of an encoder's draws: its headline on every half-sample, so that encoders can be compared in pairs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.base.npz import load_npz, save_npz
from bandbridge.metrics.intervals import Estimate


@dataclass(frozen=True, eq=False)
class HeadlineDraws:
    """One encoder's scores on one data set, by split: the headline, and the headline on each half-sample.

    Attributes:
        meta: run, encoder, clip, alpha, dataset, modality, nomenclature, prompts, metric; seed and resamples of the
            draws, `n` (the number of samples by split), store_digest. Where n, seed, resamples and store_digest are
            equal, so are the half-samples.
        estimates: by split, the headline on all samples and its error.
        resampled: by split, (resamples,) float64.
    """

    meta: Mapping[str, Any]
    estimates: Mapping[str, Estimate]
    resampled: Mapping[str, NDArray[np.floating]]

    @property
    def values(self) -> Mapping[str, float]:
        """By split, the headline on all samples."""
        return {split: score.value for split, score in self.estimates.items()}


def save_draws(path: Path, draws: HeadlineDraws) -> None:
    """Write draws as .npz: `meta` (JSON text), `<split>/<metric>` and `<split>/<attribute>` of each `Estimate`.

    Equal draws give equal bytes.
    """
    arrays: dict[str, Any] = {"meta": json.dumps(draws.meta, sort_keys=True)}
    for split, score in sorted(draws.estimates.items()):
        arrays |= {f"{split}/{name}": value for name, value in asdict(score).items()}
    arrays |= {f"{split}/{draws.meta['metric']}": values for split, values in sorted(draws.resampled.items())}
    save_npz(path, arrays)


def load_draws(path: Path) -> HeadlineDraws:
    """Read what `save_draws` wrote.

    Raises:
        UserError: the file is damaged, or was written by a version that drew other resamples.
    """
    arrays = load_npz(path)
    meta = json.loads(str(arrays["meta"]))
    names = [field.name for field in fields(Estimate)]
    missing = [f"{split}/{name}" for split in meta["n"] for name in names if f"{split}/{name}" not in arrays]
    if missing:
        raise UserError(
            f"{path} lacks {missing[0]}: an earlier version of BandBridge wrote it, for other intervals. "
            "Delete it and run again."
        )
    return HeadlineDraws(
        meta,
        {split: Estimate(*(arrays[f"{split}/{name}"].item() for name in names)) for split in meta["n"]},
        {split: arrays[f"{split}/{meta['metric']}"] for split in meta["n"]},
    )
