"""Running encoders over a store: pixels in, embeddings out."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.backends import cudnn

from bandbridge.base.files import checksum
from bandbridge.base.paths import EncoderName
from bandbridge.base.progress import progress
from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import WEIGHTS_FILE, load_clip
from bandbridge.models.device import DTYPES, announce_precision, best_device, cast_layers
from bandbridge.models.paint import end_alpha, interpolate_into
from bandbridge.models.students import load_student
from bandbridge.models.weights import load_metadata, load_weights
from bandbridge.store.dataset import Samples, Store
from bandbridge.store.embeddings import Embeddings, PartialEmbeddings
from bandbridge.store.prefetch import read_ahead

Encode = Callable[[Tensor], Tensor]

# Bytes of prepared batches that all models encode before the next ones are read: with more, weights are interpolated
# less often.
HELD_BYTES = 2**28


def sweep(  # noqa: PLR0913 (half of them are keyword-only options)
    clip_directory: Path,
    fine_tuned: Path | None,
    alphas: Sequence[float],
    store: Store,
    splits: Sequence[str],
    batch_size: int,
    precision: str = "float32",
    *,
    line: str | None = None,
    space: str | None = None,
    partial: Path | None = None,
) -> Iterator[Embeddings]:
    """Embeddings of a store's RGB images by CLIP at each alpha between zero-shot and fine-tuned (PAINT, eq. 1).

    A batch is read, composited and preprocessed once and encoded with every alpha. Weights are interpolated again for
    every few batches, which takes a small part of the time of encoding with them, so that three models are in memory
    and not one per alpha. alpha 0 and 1 are exactly the two models.

    Args:
        clip_directory: of the zero-shot CLIP.
        fine_tuned: safetensors file of the fine-tuned image encoder; None if the only alpha is 0.
        alphas: from 0 to that of `fine_tuned`, which is 1 unless its metadata state another.
        store: whose samples are encoded.
        splits: of the store.
        batch_size: samples encoded at a time.
        precision: of the encoder, see `device.settle_precision`; embeddings are float32 in any case.
        line: name of the PAINT line; the model's if None.
        space: name of the CLIP whose text encoder belongs to the line; the model's if None.
        partial: see `encode_split`.

    Yields:
        Split by split, one `Embeddings` per alpha, in the order of `alphas`.
    """
    clip = load_clip(clip_directory)
    device = best_device()
    visual = clip.visual.to(device).requires_grad_(False)
    zero_shot = {name: tensor.clone() for name, tensor in visual.state_dict().items()}
    tuned, digest, end = zero_shot, {"zero_shot": checksum(clip_directory / WEIGHTS_FILE)}, 1.0
    if fine_tuned is not None:
        tuned = {name: tensor.to(device) for name, tensor in load_weights(fine_tuned).items()}
        digest["fine_tuned"], end = checksum(fine_tuned), end_alpha(fine_tuned)
    elif any(alphas):
        raise ValueError(f"alphas {list(alphas)} without fine-tuned weights; only 0 needs none")

    def prepare(pixels: Tensor) -> Tensor:
        return clip.inputs(views.rgb_image(pixels, store.modality, store.bands, store.composite))

    def at(alpha: float) -> Callable[[], Encode]:
        def ready() -> Encode:
            interpolate_into(visual.state_dict(), zero_shot, tuned, alpha / end)
            return visual

        return ready

    computes = announce_precision(f"Encoding {store.attrs['dataset']}", precision, device)
    cast_layers(visual, computes.name)
    models = [at(alpha) for alpha in alphas]
    key = f"{digest} {checksum(clip_directory / CONFIG_FILE)} {list(alphas)}"
    for split in splits:
        embeddings = encode_split(
            store, split, prepare, models, batch_size, computes.name, device, partial=partial, key=key
        )
        for alpha, embedding in zip(alphas, embeddings, strict=True):
            named = {"encoder": str(EncoderName(line or clip.name, alpha)), "clip": space or clip.name}
            attrs = {**named, "alpha": alpha, "modality": "rgb", "weights_digest": digest, "precision": str(computes)}
            yield described(embedding, store, split, attrs)


def embed_student(
    student: Path,
    name: str,
    store: Store,
    splits: Sequence[str],
    batch_size: int,
    precision: str = "float32",
    *,
    partial: Path | None = None,
) -> Iterator[Embeddings]:
    """Embeddings of a store's bands by an aligned student, one `Embeddings` per split; arguments as for `sweep`."""
    device = best_device()
    encoder = load_student(student).to(device)
    computes = announce_precision(f"Encoding {store.attrs['dataset']}", precision, device)
    cast_layers(encoder, computes.name)
    store = Store(store.path, modality=encoder.spec.modality)
    attrs = {
        "encoder": name,
        "clip": load_metadata(student)["clip"],
        "alpha": None,
        "modality": store.modality,
        "weights_digest": {"student": checksum(student)},
        "precision": str(computes),
    }
    key = str(attrs["weights_digest"])

    def prepare(pixels: Tensor) -> Tensor:
        return encoder.inputs(pixels, store.bands)

    for split in splits:
        (embedding,) = encode_split(
            store, split, prepare, [lambda: encoder], batch_size, computes.name, device, partial=partial, key=key
        )
        yield described(embedding, store, split, attrs)


def described(embedding: NDArray[np.float32], store: Store, split: str, attrs: dict[str, Any]) -> Embeddings:
    """Embeddings of all samples of a store's split, with facts about the store added to `attrs`."""
    of_store = {"dataset": store.attrs["dataset"], "split": split, "store_digest": store.digest}
    return Embeddings(embedding, store.split(split).ids, {**attrs, **of_store})


@torch.inference_mode()
def encode_split(  # noqa: PLR0913 (two are keyword-only options)
    store: Store,
    split: str,
    prepare: Encode,
    models: Sequence[Callable[[], Encode]],
    batch_size: int,
    precision: str,
    device: torch.device,
    *,
    partial: Path | None = None,
    key: str = "",
) -> list[NDArray[np.float32]]:
    """Encode every sample of a split with several models; `prepare` runs once per sample.

    Args:
        store: whose samples are encoded.
        split: of the store.
        prepare: pixels as stored, on the device -> input of the models.
        models: functions that return a model ready to encode, called again for every few batches; the next one is
            called only when the model has encoded them.
        batch_size: samples encoded at a time.
        precision: 'bfloat16', 'float16' or 'float32'; weights may be cast already, see `device.cast_layers`.
        device: of the models.
        partial: a folder for partial results: they need not fit in memory, and after a kill the job resumes with the
            same numbers. The returned arrays are mapped from its files: remove it after their use.
        key: of what the numbers depend on besides the store, the batch size and the precision, such as weights.

    Returns:
        (sample, dim) per model.
    """
    samples = store.split(split)
    with tempfile.TemporaryDirectory() if partial is None else nullcontext(partial) as folder:
        everything = f"{key} {store.identity} {store.modality} {split} {batch_size} {precision} {device.type}"
        done = PartialEmbeddings(Path(folder) / split, everything, len(models))
        starts = range(done.rows, len(samples), batch_size)
        parts = [np.arange(at, min(at + batch_size, len(samples))) for at in starts]
        pixels = read_ahead(_reader(samples, device), parts)
        prepared = (prepare(batch.to(device, non_blocking=True)) for batch in pixels)
        dtype = DTYPES[precision]
        mixed = torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)

        def encode() -> Iterator[None]:
            for batches in _held(prepared):
                outputs = []
                for ready in models:
                    model = ready()
                    for values in batches:
                        # By default cuDNN convolves float32 in TF32.
                        with mixed, cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                            outputs.append(model(values).float())
                        yield
                rows = torch.cat(outputs).cpu().numpy()
                done.add(rows.reshape(len(models), -1, rows.shape[1]))

        label = f"Encoding {store.attrs['dataset']} {split}"
        for _ in progress(encode(), label, total=len(parts) * len(models), unit="batches"):
            pass
        return done.arrays() if partial else [np.array(array) for array in done.arrays()]


def _held(prepared: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    """Batches in groups of HELD_BYTES at most; a larger batch is a group by itself."""
    held: list[Tensor] = []
    for values in prepared:
        if held and sum(batch.nbytes for batch in [*held, values]) > HELD_BYTES:
            yield held
            held = []
        held.append(values)
    if held:
        yield held


def _reader(samples: Samples, device: torch.device) -> Callable[[NDArray[np.int64]], Tensor]:
    def read(indices: NDArray[np.int64]) -> Tensor:
        pixels = torch.from_numpy(samples.read(indices))
        return pixels.pin_memory() if device.type == "cuda" else pixels

    return read
