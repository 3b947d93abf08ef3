"""Running encoders over a store: pixels in, embeddings out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.backends import cudnn
from torch.func import functional_call

from bandbridge import views
from bandbridge.clip import WEIGHTS_FILE, load_clip
from bandbridge.device import best_device
from bandbridge.embeddings import Embeddings
from bandbridge.files import checksum
from bandbridge.paint import interpolate
from bandbridge.progress import progress
from bandbridge.store import Store
from bandbridge.students import load_student
from bandbridge.training.batches import read_ahead
from bandbridge.weights import load_metadata, load_weights

Encode = Callable[[Tensor], Tensor]


def sweep(
    clip_directory: Path,
    fine_tuned: Path,
    alphas: Sequence[float],
    store: Store,
    splits: Sequence[str],
    batch_size: int,
    precision: str = "float32",
) -> Iterator[Embeddings]:
    """Embeddings of a store's RGB pictures by CLIP at each alpha between zero-shot and fine-tuned (PAINT, eq. 1).

    A batch is read, composited and preprocessed once and encoded with every alpha. Weights are interpolated anew for
    each batch, a small part of the time it takes to encode with them, so that three models are in memory and not one an
    alpha. alpha 0 and 1 are exactly the two models.

    Args:
        fine_tuned: safetensors file of the image encoder alone.
        batch_size: samples encoded at a time.
        precision: 'float32', or 'bfloat16' for automatic mixed precision.

    Yields:
        split by split, one `Embeddings` for each alpha, in the order of `alphas`.
    """
    clip = load_clip(clip_directory)
    device = best_device()
    visual = clip.visual.to(device)
    zero_shot = dict(visual.state_dict())
    tuned = {name: tensor.to(device) for name, tensor in load_weights(fine_tuned).items()}
    digest = {"zero_shot": checksum(clip_directory / WEIGHTS_FILE), "fine_tuned": checksum(fine_tuned)}

    def prepare(pixels: Tensor) -> Tensor:
        return clip.inputs(views.rgb_image(pixels, store.modality, store.bands, store.composite))

    def encoder(alpha: float) -> Encode:
        return lambda values: functional_call(visual, interpolate(zero_shot, tuned, alpha), (values,))

    encoders = [encoder(alpha) for alpha in alphas]
    for split in splits:
        embeddings = _encode(store, split, prepare, encoders, batch_size, precision, device)
        for alpha, embedding in zip(alphas, embeddings, strict=True):
            attrs = {"encoder": f"{clip.name}@{alpha:g}", "clip": clip.name, "alpha": alpha, "modality": "rgb"}
            yield _described(embedding, store, split, {**attrs, "weights_digest": digest})


def embed_student(
    student: Path, name: str, store: Store, splits: Sequence[str], batch_size: int, precision: str = "float32"
) -> Iterator[Embeddings]:
    """Embeddings of a store's bands by an aligned student, one `Embeddings` a split; arguments as for `sweep`."""
    device = best_device()
    encoder = load_student(student).to(device)
    store = Store(store.path, modality=encoder.spec.modality)
    attrs = {"encoder": name, "clip": load_metadata(student)["clip"], "alpha": None, "modality": store.modality}
    digest = {"student": checksum(student)}

    def prepare(pixels: Tensor) -> Tensor:
        return encoder.inputs(pixels, store.bands)

    for split in splits:
        (embedding,) = _encode(store, split, prepare, [encoder], batch_size, precision, device)
        yield _described(embedding, store, split, {**attrs, "weights_digest": digest})


def _described(embedding: NDArray[np.float32], store: Store, split: str, attrs: dict[str, Any]) -> Embeddings:
    of_store = {"dataset": store.attrs["dataset"], "split": split, "store_digest": store.digest}
    return Embeddings(embedding, store.split(split).ids, {**attrs, **of_store})


@torch.inference_mode()
def _encode(
    store: Store,
    split: str,
    prepare: Encode,
    encoders: Sequence[Encode],
    batch_size: int,
    precision: str,
    device: torch.device,
) -> NDArray[np.float32]:
    """(encoder, sample, dim): every sample of a split through `prepare` once and through each encoder."""
    samples = store.split(split)
    label = f"Encoding {store.attrs['dataset']} {split}"
    parts = [np.arange(len(samples))[at : at + batch_size] for at in range(0, len(samples), batch_size)]
    batches = progress(read_ahead(samples.read, parts), label, total=len(parts), unit="batches")
    mixed = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
    pieces = []
    for pixels in batches:
        values = prepare(torch.from_numpy(pixels).to(device))
        # Left to itself, cuDNN convolves float32 in TF32.
        with mixed, cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            outputs = torch.stack([encode(values) for encode in encoders])
        pieces.append(outputs.float().cpu().numpy())
    return np.concatenate(pieces, axis=1)
