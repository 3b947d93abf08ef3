"""Running a published encoder over a store."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from bandbridge.models.device import announce_precision, best_device, cast_layers
from bandbridge.models.embed import described, encode_split
from bandbridge.models.external import load as encoders
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import Embeddings


def embed_encoder(
    directory: Path,
    store: Store,
    splits: Sequence[str],
    batch_size: int,
    precision: str = "float32",
    *,
    partial: Path | None = None,
) -> Iterator[Embeddings]:
    """Embeddings of a store by the encoder of a directory, one `Embeddings` per split.

    Args:
        directory: see `load.load`.
        store: whose samples are encoded.
        splits: of the store.
        batch_size: samples encoded at a time.
        precision: of the encoder, see `device.settle_precision`; embeddings are float32 in any case.
        partial: see `embed.encode_split`.
    """
    device = best_device()
    encoder = encoders.load(directory).to(device)
    computes = announce_precision(f"Encoding {store.attrs['dataset']}", precision, device)
    if encoder.clip is not None:
        cast_layers(encoder.model, computes.name)
    view = encoder.view(store)
    modality = "rgb" if encoder.facts.is_rgb else view.modality
    attrs = {"encoder": encoder.name, "clip": encoder.text_space, "alpha": None, "modality": modality}
    key = f"{encoder.facts} {encoder.weights_digest}"

    def prepare(pixels: Tensor) -> Tensor:
        return encoder.inputs(pixels, view)

    for split in splits:
        (embedding,) = encode_split(
            view, split, prepare, [lambda: encoder.encode], batch_size, computes.name, device, partial=partial, key=key
        )
        yield described(
            embedding, view, split, {**attrs, "weights_digest": encoder.weights_digest, "precision": str(computes)}
        )
