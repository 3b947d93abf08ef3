"""The CLIP for words: loaded when it is needed, and its vectors of words kept from one command to the next."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum
from bandbridge.base.packages import installed_versions
from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.models.clip import Clip, fetch_clip, load_clip
from bandbridge.models.text_heads import text_head
from bandbridge.use.cache import cache_folder, cached

# What embeds a sentence: another version of them might embed it differently.
LIBRARIES = ("torch", "open_clip_torch", "transformers", "tokenizers")


@dataclass(frozen=True, eq=False)
class TextSide:
    """Where the text encoder of a model comes from.

    Attributes:
        load: the CLIP with it.
        folder: the open_clip model directory that `load` reads; None if the CLIP is loaded already.
    """

    load: Callable[[], Clip]
    folder: Callable[[], Path] | None = None

    @classmethod
    def in_folder(cls, folder: Callable[[], Path]) -> "TextSide":
        """The text side of an open_clip model directory, which may have to be fetched first."""

        def load() -> Clip:
            with no_collections():
                return load_clip(folder())

        return cls(load, folder)

    def sentences(
        self, groups: Sequence[Sequence[str]], dim: int, device: torch.device, clip: Callable[[], Clip]
    ) -> NDArray[np.float32]:
        """A unit vector (n, dim) for each group of sentences, see `text_heads.text_head`.

        Loading open_clip, transformers and a text tower takes seconds, so that the vectors are kept in the user's
        cache, by the digest of the tower's files and the sentences.

        Args:
            groups: of sentences.
            dim: width of the vectors.
            device: that computes them.
            clip: the CLIP on its device, called if the vectors are not known.
        """
        folder = None if self.folder is None else self.folder()
        if folder is None or not folder.is_dir():
            return text_head(clip(), groups)
        key = {
            "text": _digest(folder),
            "sentences": [list(group) for group in groups],
            "dim": dim,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "versions": installed_versions(*LIBRARIES),
        }
        return cached("words", key, lambda: {"vectors": text_head(clip(), groups)})["vectors"]


def text_folder(source: str) -> Path:
    """The open_clip model directory of --text-model; '<architecture>:<weights>' is fetched into the cache.

    Raises:
        UserError: neither a folder nor of this form, or the weights cannot be fetched.
    """
    if Path(source).is_dir():
        return Path(source)
    name, _, weights = source.partition(":")
    if not weights:
        raise UserError(
            f"--text-model is '{source}': no such folder. Name an open_clip model directory, or architecture and "
            "weights, such as ViT-B-32:openai."
        )
    folder = cache_folder() / "clips" / f"{name}.{Path(weights).name}"
    if not (folder / CONFIG_FILE).is_file():
        fetch_clip(name, weights, folder)
    return folder


@contextmanager
def no_collections() -> Iterator[None]:
    """Look for no garbage while libraries are imported: there is none, and looking takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def must_match(clip: Clip, dim: int, name: str) -> Clip:
    """The CLIP, if its embeddings have the width of the model `name`; a `UserError` otherwise."""
    if clip.embed_dim != dim:
        raise UserError(
            f"{name} has embeddings of {dim} values, the text encoder of {clip.name} of {clip.embed_dim}: they are of "
            "different CLIPs. Name the CLIP that the model was aligned to."
        )
    return clip


def _digest(folder: Path) -> str:
    """SHA-256 of the names and contents of a folder's files, hidden ones left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{checksum(path)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
