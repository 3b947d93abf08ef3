"""Published encoders, loaded from the directories that `fetch` writes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum, read_json
from bandbridge.catalogue.encoders import MARKER, EncoderFacts, chosen_modality, facts_of
from bandbridge.models import preprocessing as views
from bandbridge.models.backbones import new_backbone
from bandbridge.models.clip import WEIGHTS_FILE, Clip, load_clip
from bandbridge.models.external import torchgeo as encoder_torchgeo
from bandbridge.models.external.inputs import band_input, image_input
from bandbridge.models.external.satmae import new_satmae
from bandbridge.models.state_dicts import must_fit
from bandbridge.models.weights import load_weights
from bandbridge.store.dataset import Store

MODEL_FILE = "model.safetensors"  # of every kind but open_clip
PATCH_FILE = "patch_embedding.safetensors"  # of an open_clip model that takes bands
PATCH_WEIGHT = "visual.conv1.weight"


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder with its preprocessing, in eval mode.

    Attributes:
        facts: of the encoder's file.
        model: the image encoder only, float32.
        encode: prepared values -> embeddings (n, dim), not normalised.
        clip: the CLIP it is part of, with its text encoder; None for encoders without text.
        weights_digest: sha256 of each of its weights files.
    """

    facts: EncoderFacts
    model: nn.Module
    encode: Callable[[Tensor], Tensor]
    clip: Clip | None
    weights_digest: dict[str, str]

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def text_space(self) -> str:
        """The name of the CLIP whose heads fit its embeddings: the encoder's; empty if it has no text encoder."""
        return self.facts.name if self.facts.has_text else ""

    def to(self, device: torch.device) -> "Encoder":
        """The same encoder, its image side moved to a device."""
        self.model.to(device)
        return self

    def view(self, store: Store) -> Store:
        """A store in the modality that the encoder takes; prints a note if its product level differs.

        Raises:
            UserError: the store has none of the bands, or lacks some that may not be filled.
        """
        facts = self.facts
        view = Store(store.path, modality=chosen_modality(facts, store.attrs["modalities"], store.attrs["dataset"]))
        if facts.is_rgb:
            return view
        missing = [band for band in facts.bands if band not in view.bands]
        if missing:
            print(f"{self.name}: {store.attrs['dataset']} lacks {', '.join(missing)}, filled with zeros.")
        product = view.facts.get("product")
        if facts.product and product and product != facts.product:
            print(f"{self.name} was trained on {facts.product}; {store.attrs['dataset']} is {product}.")
        return view

    def inputs(self, pixels: Tensor, store: Store) -> Tensor:
        """A batch of a store's pixels as the encoder takes them; `store` is what `view` returned."""
        if not self.facts.is_rgb:
            return band_input(self.facts, pixels, store.bands)
        rgb = views.rgb_image(pixels, store.modality, store.bands, store.composite)
        return image_input(self.facts, rgb) if self.clip is None else self.clip.inputs(rgb)


def load(directory: Path) -> Encoder:
    """The encoder in a directory of `fetch.fetch_encoder`, or of the `encoder.json` in it; on the CPU.

    Raises:
        UserError: the directory has no encoder, or the library that builds it is not installed.
    """
    directory = directory.parent if directory.name == MARKER else directory
    if not (directory / MARKER).is_file():
        raise UserError(
            f"{directory}: {MARKER} is missing, so this is not an encoder; the fetch_encoder step makes one."
        )
    about = read_json(directory / MARKER)
    facts = facts_of(about["encoder"], about["checkpoint"])
    return _load_open_clip(facts, directory) if facts.kind == "open_clip" else _load(facts, directory)


def new_model(facts: EncoderFacts) -> nn.Module:
    """The network of any kind but open_clip, with random weights."""
    if facts.kind == "timm":
        return new_backbone(facts.architecture, facts.channels, facts.options)
    if facts.kind == "satmae":
        return new_satmae(facts.bands, facts.image_size, facts.options)
    return encoder_torchgeo.new_torchgeo(facts)


def _load_open_clip(facts: EncoderFacts, directory: Path) -> Encoder:
    clip = load_clip(directory)
    visual = clip.visual
    digest = {"open_clip": checksum(directory / WEIGHTS_FILE)}
    if not facts.is_rgb:
        wide = load_weights(directory / PATCH_FILE, directory)[PATCH_WEIGHT]
        digest["patch_embedding"] = checksum(directory / PATCH_FILE)
        narrow: nn.Conv2d = visual.conv1  # type: ignore[assignment]
        out, channels, height, width = wide.shape
        conv = nn.Conv2d(channels, out, (height, width), stride=narrow.stride, bias=narrow.bias is not None)  # type: ignore[arg-type]
        conv.load_state_dict({**narrow.state_dict(), "weight": wide})
        visual.conv1 = conv
    return Encoder(facts, visual.eval(), visual, clip, digest)


def _load(facts: EncoderFacts, directory: Path) -> Encoder:
    model = new_model(facts)
    state = load_weights(directory / MODEL_FILE, directory)
    must_fit(state, model.state_dict(), directory / MODEL_FILE, f"the {facts.architecture} that {MARKER} describes")
    model.load_state_dict(state)
    model.eval()
    encode = encoder_torchgeo.forward(facts, model) if facts.kind == "torchgeo" else model
    return Encoder(facts, model, encode, None, {"encoder": checksum(directory / MODEL_FILE)})
