"""A model for users: arrays, files and sentences in, unit embeddings, labels and cosines out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.backends import cudnn

from bandbridge.base.errors import UserError
from bandbridge.base.progress import remark
from bandbridge.models.clip import Clip
from bandbridge.models.device import Precision, autocast
from bandbridge.models.text_heads import text_head
from bandbridge.use.arrays import ARRAY, SHAPES, as_numbers, checked
from bandbridge.use.bands import RGB, match_bands, must_have, stated_bands
from bandbridge.use.card import Card
from bandbridge.use.labels import Labels, chosen_templates, make_labels, must_be_words
from bandbridge.use.scenes import BandSet, Reading, open_scene
from bandbridge.use.text_side import TextSide

if TYPE_CHECKING:
    import xarray

# Bytes of an image that is encoded as a whole; a scene is divided into windows.
MOST_IMAGE_BYTES = 1024**3
_LARGE = 2  # times the side of the training samples
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ImageSide:
    """An image encoder and the preparation of its input.

    Attributes:
        network: with all its weights, on the device.
        takes: the sets of bands that it accepts, the best first.
        prepare: pixels (n, band, y, x) on the device and the names of their bands -> the input of `encode`.
        encode: -> (n, dim), not normalised.
        size: side of the input of `encode`, in pixels.
    """

    network: nn.Module
    takes: tuple[BandSet, ...]
    prepare: Callable[[Tensor, tuple[str, ...]], Tensor]
    encode: Callable[[Tensor], Tensor]
    size: int
    dim: int


@dataclass(frozen=True)
class Classified:
    """Labels of images.

    Attributes:
        names: all labels to choose from.
        scores: (n, class).
        measure: kind of the scores, 'probability' or 'cosine'.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float32]
    measure: str

    @property
    def labels(self) -> list[str]:
        """The best label of each image."""
        return [self.names[index] for index in self.scores.argmax(axis=1)]

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The k best labels of each image with their scores, the best first."""
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]
        return [
            [(self.names[index], float(row[index])) for index in best]
            for row, best in zip(self.scores, order, strict=True)
        ]


@dataclass(eq=False)
class Model:
    """A model that is ready to use; `bandbridge.load` returns one.

    Attributes:
        name: of the model.
        source: MODEL as the user named it.
        card: its metadata.
        image: its image encoder.
        digest: SHA-256 of its weights.
        device, precision: of the computation.
        batch_size: images encoded at a time.
    """

    name: str
    source: str
    card: Card
    image: ImageSide
    digest: str
    device: torch.device
    precision: Precision
    batch_size: int = 128
    _words: TextSide | None = None
    _text: Clip | None = field(default=None, repr=False)
    parts: Any = field(default=None, repr=False)  # of `sources.Parts`, for exports

    # --- properties ---------------------------------------------------------------------------------------------------

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of its input, in order; red, green and blue for an encoder of RGB images."""
        return self.image.takes[0].bands

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of its training; empty where none are known."""
        return self.card.classes

    @property
    def sensor(self) -> str | None:
        return self.card.sensor

    @property
    def dim(self) -> int:
        """Width of its embeddings."""
        return self.image.dim

    @property
    def text(self) -> Clip:
        """The CLIP whose text encoder it shares, loaded on first use.

        Raises:
            UserError: the model has no text encoder.
        """
        if self._text is None:
            if self._words is None:
                raise UserError(
                    f"{self.name} has no text encoder: it embeds images and finds similar ones (search "
                    "--image). For words, name the CLIP that it is of or was aligned to, such as --text-model "
                    "ViT-B-32:openai or an open_clip model directory."
                )
            self._text = self._words.load()
            self._text.model.to(self.device)
        return self._text

    # --- images -------------------------------------------------------------------------------------------------------

    def encode_images(self, images: Any, bands: Sequence[str] | None = None, **reading: Any) -> Any:
        """Unit embeddings of images.

        Args:
            images: an array (band, y, x) or (sample, band, y, x) in the model's units (`card.units`), or RGB images
                (y, x, 3) or (sample, y, x, 3) uint8; the same as an xarray.DataArray, whose coordinate `band` names the
                bands; a path, or several. A pixel with NaN in a band has no value, and is filled as in files.
            bands: names of the array's or the files' bands, in their order, as a list or separated by commas; None for
                an array with the model's bands in its order.
            reading: `scale`, `offset` and `crs`, see `scenes.Reading`.

        Returns:
            (sample, dim) float32, or (dim,) for one image; an xarray.DataArray with the dimensions (sample, dim) of
            one, with its coordinates of samples.

        Raises:
            UserError: the bands are not those that the model takes, the values are not in its unit, or a file cannot be
                read.
        """
        if isinstance(bands, str):
            bands = stated_bands(bands)
        if isinstance(images, str | Path):
            return self._encode_files([Path(images)], bands, reading)[0]
        if isinstance(images, Sequence) and images and all(isinstance(item, str | Path) for item in images):
            return self._encode_files([Path(item) for item in images], bands, reading)
        if hasattr(images, "coords") and hasattr(images, "dims"):
            return self._encode_xarray(images, bands, Reading(**reading))
        pixels = as_numbers(images)
        single = pixels.ndim == 3
        embedded = self._encode_array(pixels[None] if single else pixels, bands, Reading(**reading))
        return embedded[0] if single else embedded

    def encode_pixels(self, pixels: NDArray[Any], bands: tuple[str, ...]) -> NDArray[np.float32]:
        """Unit embeddings (n, dim) of pixels (n, band, y, x) whose bands are some of the model's, by name."""
        parts = [pixels[at : at + self.batch_size] for at in range(0, len(pixels), self.batch_size)]
        return np.concatenate(
            [self._encode_batch(part, bands) for part in parts] or [np.empty((0, self.dim), np.float32)]
        )

    @torch.inference_mode()
    def _encode_batch(self, pixels: NDArray[Any], bands: tuple[str, ...]) -> NDArray[np.float32]:
        if pixels.dtype == np.uint16 and self.device.type == "cpu":
            pixels = pixels.astype(np.float32)  # torch converts uint16 a value at a time
        values = self.image.prepare(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device), bands)
        with (
            autocast(self.device, self.precision.name),
            cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            embedded = self.image.encode(values)
        return F.normalize(embedded.float(), dim=-1).cpu().numpy()

    def _encode_files(
        self, paths: Sequence[Path], bands: Sequence[str] | None, reading: dict[str, Any]
    ) -> NDArray[np.float32]:
        options = Reading(bands=tuple(bands) if bands else None, **reading)
        embedded = []
        for path in paths:
            with open_scene(path, self.image.takes, options) as scene:
                pixels, valid = read_whole(scene, self.card.window)
                embedded.append(
                    self.encode_pixels(filled(pixels[None], None if valid is None else valid[None]), scene.bands)
                )
        return np.concatenate(embedded)

    def _encode_array(self, pixels: NDArray[Any], bands: Sequence[str] | None, reading: Reading) -> NDArray[np.float32]:
        pixels, names = self._as_pixels(pixels, bands)
        takes = next(bands for bands in self.image.takes if set(names) <= set(bands.bands))
        return self.encode_pixels(filled(*checked(pixels, takes, reading)), names)

    def _encode_xarray(
        self, images: "xarray.DataArray", bands: Sequence[str] | None, reading: Reading
    ) -> "xarray.DataArray":
        import xarray

        axis = next((name for name in ("band", "bands", "channel") if name in images.dims), None)
        if axis is None or images.ndim not in (3, 4):
            raise UserError(
                f"{ARRAY} has the dimensions {', '.join(map(str, images.dims))}; expected {SHAPES}, in any order, with "
                "a dimension called band."
            )
        if bands is None and axis in images.coords and axis == "band":
            bands = [str(name) for name in images.coords[axis].values]
        x = next((name for name in ("x", "lon", "longitude") if name in images.dims), images.dims[-1])
        y = next((name for name in ("y", "lat", "latitude") if name in images.dims), images.dims[-2])
        sample = [name for name in images.dims if name not in (axis, y, x)]
        ordered = images.transpose(*sample, axis, y, x)
        pixels = as_numbers(ordered.values if sample else ordered.values[None])
        embedded = self._encode_array(pixels, bands, reading)
        if not sample:
            return xarray.DataArray(embedded[0], dims=("dim",), name="embedding")
        kept = {name: value for name, value in images.coords.items() if value.dims == (sample[0],)}
        return xarray.DataArray(embedded, dims=(sample[0], "dim"), coords=kept, name="embedding")

    def _as_pixels(self, pixels: NDArray[Any], bands: Sequence[str] | None) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Pixels (n, band, y, x) of bands that the model takes, and their names."""
        if pixels.ndim != 4:
            raise UserError(f"{ARRAY} has {pixels.ndim} dimensions; expected {SHAPES}.")
        if (
            bands is None
            and pixels.dtype == np.uint8
            and pixels.shape[-1] == 3
            and any(t.is_picture for t in self.image.takes)
        ):
            return np.moveaxis(pixels, -1, 1), RGB
        takes = self.image.takes[0]
        if bands is None:
            if pixels.shape[1] != len(takes.bands):
                raise UserError(
                    f"{ARRAY} has {pixels.shape[1]} bands, the model takes {len(takes.bands)}: "
                    f"{' '.join(takes.bands)}. Name the array's bands: bands=[...]."
                )
            return pixels, takes.bands
        names = match_bands(list(bands), takes.bands, ARRAY, list(bands))
        if len(names) != pixels.shape[1]:
            raise UserError(f"bands has {len(names)} names, {ARRAY} {pixels.shape[1]} bands.")
        must_have(names, takes.bands, ARRAY, takes.may_lack)
        used = [at for at, name in enumerate(names) if name in takes.bands]
        return pixels[:, used], tuple(names[at] for at in used)

    # --- words --------------------------------------------------------------------------------------------------------

    def encode_text(
        self, texts: str | Sequence[str], templates: str | Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Unit embeddings (text, dim) of words or sentences, (dim,) of one.

        Args:
            texts: words or sentences.
            templates: to fill with each text; the mean over the filled templates is embedded. None takes the model's
                own; 'none', or ("{}",), embeds the texts unchanged.
        """
        single = isinstance(texts, str)
        listed = [texts] if isinstance(texts, str) else list(texts)
        must_be_words(listed, "a text")
        if not listed:
            return np.empty((0, self.dim), np.float32)
        chosen = chosen_templates(self.card, templates)
        vectors = self.encode_sentences([[text.replace("{}", word) for text in chosen] for word in listed])
        return vectors[0] if single else vectors

    def encode_sentences(self, sentences: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """A unit vector (n, dim) for each group of sentences: the mean of its unit embeddings, normalised."""
        if self._words is None or self._text is not None:
            return text_head(self.text, sentences)
        return self._words.sentences(sentences, self.dim, self.device, lambda: self.text)

    def labels(self, labels: str | Sequence[str] | None = None, templates: str | Sequence[str] | None = None) -> Labels:
        """Classes to choose from, see `labels.make_labels`."""
        return make_labels(self, labels, templates)

    def classify(
        self,
        images: Any,
        labels: str | Sequence[str] | None = None,
        templates: str | Sequence[str] | None = None,
        bands: Sequence[str] | None = None,
        **reading: Any,
    ) -> Classified:
        """The best label of each image, zero-shot.

        Args:
            images, bands, reading: see `encode_images`.
            labels, templates: see `labels.make_labels`.
        """
        chosen = self.labels(labels, templates)
        embedded = np.atleast_2d(np.asarray(self.encode_images(images, bands, **reading)))
        return Classified(chosen.names, chosen.scores(embedded), chosen.measure)

    def similarity(
        self,
        images: Any,
        texts: str | Sequence[str],
        templates: str | Sequence[str] | None = None,
        bands: Sequence[str] | None = None,
        **reading: Any,
    ) -> NDArray[np.float32]:
        """Cosines (n, text) of images, or of embeddings (n, dim) of any length, and texts; see `classify`.

        Raises:
            UserError: embeddings of another width than the model's.
        """
        is_embedded = getattr(images, "ndim", 3) <= 2
        embedded = np.atleast_2d(as_numbers(images) if is_embedded else self.encode_images(images, bands, **reading))
        if embedded.shape[1] != self.dim:
            raise UserError(
                f"{ARRAY} has the shape {embedded.shape}; expected images {SHAPES}, or embeddings (n, {self.dim})."
            )
        if is_embedded:
            lengths = np.linalg.norm(embedded, axis=1, keepdims=True)
            embedded = (embedded / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
        return embedded @ np.atleast_2d(self.encode_text(texts, templates)).T


def read_whole(scene: Any, trained: int | None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """All pixels of a scene that is one image, and which of them have values.

    Args:
        scene: an open scene.
        trained: side of the samples that the model was trained on, in pixels, if known: others are reported.

    Raises:
        UserError: it is too large for one image, or none of its pixels has a value.
    """
    size = len(scene.bands) * scene.height * scene.width * scene.dtype.itemsize
    if size > MOST_IMAGE_BYTES:
        raise UserError(
            f"{scene.path}: {scene.height:,} x {scene.width:,} pixels are a scene rather than one image; cut it into "
            "windows (embed --window 64, or map)."
        )
    if trained is not None and max(scene.height, scene.width) > _LARGE * trained:
        _report_large_images(trained)
    pixels, valid = scene.read(0, 0, scene.height, scene.width)
    if valid is not None and not valid.any():
        raise UserError(f"{scene.path}: every pixel is no-data; there is nothing to encode.")
    return pixels, valid


@cache  # said once, not for each of thousands of images
def _report_large_images(trained: int) -> None:
    remark(
        f"images are encoded whole, and some are more than {_LARGE} times as large as the {trained} x {trained} pixels "
        f"of the model's training: what it recognises is shrunk in them. --window {trained} encodes them in pieces."
    )


def filled(pixels: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Pixels (n, band, y, x), those without a value replaced by their band's mean over the rest of the image.

    Args:
        pixels: (n, band, y, x).
        valid: (n, y, x); None where all pixels have values. An image without any becomes zeros.
    """
    if valid is None or valid.all():
        return pixels
    result = pixels.copy()
    for image, mask in zip(result, valid, strict=True):
        if not mask.all():
            means = image[:, mask].mean(axis=1) if mask.any() else np.zeros(len(image))
            image[:, ~mask] = means[:, None].astype(image.dtype)
    return result


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of `size`; the last may be shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
