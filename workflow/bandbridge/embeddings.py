"""Embeddings on disk: a small Zarr group an encoder, data set and split, readable without torch."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray

from bandbridge import __version__
from bandbridge.errors import UserError
from bandbridge.files import whole_directory

ROWS_PER_CHUNK = 4096


class Place(NamedTuple):
    """What the path `<encoder>/<dataset>.<split>.zarr` of embeddings says; encoders of a CLIP are <clip>@<alpha>."""

    encoder: str
    dataset: str
    split: str

    @property
    def alpha(self) -> float:
        return float(self.encoder.rpartition("@")[2])


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What one encoder made of one split of a data set.

    Attributes:
        embedding: (sample, dim) float32, before normalisation.
        ids: (sample,) text, in the store's order.
        attrs: encoder, clip, alpha (None for a student), dataset, split, modality ('rgb' for a picture or a composite,
            otherwise the store's), store_digest, weights_digest (sha256 of each weights file the encoder is made of).
    """

    embedding: NDArray[np.float32]
    ids: NDArray[np.str_]
    attrs: Mapping[str, Any]

    @property
    def place(self) -> Place:
        return Place(self.attrs["encoder"], self.attrs["dataset"], self.attrs["split"])


def place_of(path: Path) -> Place:
    """Read encoder, data set and split off the path of an embeddings group.

    Raises:
        ValueError: the path has another form.
    """
    match = re.fullmatch(r"([^.]+)\.(\w+)\.zarr", path.name)
    if match is None:
        raise ValueError(f"{path}: expected <encoder>/<dataset>.<split>.zarr")
    return Place(path.parent.name, match[1], match[2])


def save_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write a Zarr v3 group of `embedding` (sample, dim) and `id` (sample), whole or not at all.

    Raises:
        UserError: an embedding is not finite; the message counts them.
    """
    broken = np.flatnonzero(~np.isfinite(embeddings.embedding).all(axis=1))
    if broken.size:
        raise UserError(
            f"{path}: {broken.size} of {len(embeddings.ids)} embeddings are not finite, first that of sample "
            f"{embeddings.ids[broken[0]]}. The encoder's weights have diverged: train with a lower learning rate."
        )
    with whole_directory(path) as part:
        attributes = {**embeddings.attrs, "bandbridge_version": __version__}
        group = zarr.create_group(part, zarr_format=3, attributes=attributes)
        group.create_array(
            "embedding",
            data=np.asarray(embeddings.embedding, dtype=np.float32),
            chunks=(ROWS_PER_CHUNK, max(1, embeddings.embedding.shape[1])),
            dimension_names=("sample", "dim"),
        )
        ids = group.create_array("id", shape=(len(embeddings.ids),), dtype=str, dimension_names=("sample",))
        ids[:] = np.asarray(embeddings.ids, dtype=object)
        with warnings.catch_warnings():
            # xarray looks for consolidated metadata first; Zarr 3 has it as an extension and says so each time.
            warnings.simplefilter("ignore", category=zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(part, zarr_format=3)


def load_embeddings(path: Path) -> Embeddings:
    """Read what `save_embeddings` wrote."""
    ids = np.asarray(zarr.open_array(path, path="id", mode="r")[:])
    return Embeddings(
        embedding=np.asarray(zarr.open_array(path, path="embedding", mode="r")[:]),
        ids=np.array(ids.tolist(), dtype=np.str_),
        attrs=dict(zarr.open_group(path, mode="r").attrs),
    )
