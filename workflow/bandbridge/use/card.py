"""A model's metadata: bands, units, composite, templates, classes, licence, scores."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bandbridge import __version__
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json

CARD = "bandbridge.json"
FORMAT = 1
KINDS = ("student", "clip", "encoder")
# For a model without known templates (Radford et al. 2021 had one like the first).
PLAIN_TEMPLATES = ("a photo of {}.", "a satellite photo of {}.")


@dataclass(frozen=True)
class Card:
    """Metadata of a model; empty or None where unknown.

    Attributes:
        kind: 'student' (bands), 'clip' (RGB images) or 'encoder' (of workflow/encoders).
        bands: its input, in order; empty for RGB images.
        sensor, product, units, resolution: of its training data; metres of a pixel.
        window: pixels of a side of its training samples, on which a map's windows are made by default.
        composite: how an RGB image is made, see `Composite.facts`.
        templates: filled with a class's name.
        classes, prompts: of its training, and the sentences of each.
        calibration: see `calibration.Calibration`; None where no validation logits were available.
        data: data set, title, licence, attribution and citations of its training data.
        clip, alpha: the CLIP whose text encoder it shares, and where on PAINT's line its image encoder, or its
            teacher, was chosen.
        precision: of the training.
        scores: rows of metrics.csv of this model on test data.
        versions: of the software that made it.
    """

    name: str
    kind: str
    title: str = ""
    bands: tuple[str, ...] = ()
    sensor: str | None = None
    product: str | None = None
    units: str | None = None
    resolution: float | None = None
    window: int | None = None
    composite: Mapping[str, Any] | None = None
    templates: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    prompts: tuple[tuple[str, ...], ...] = ()
    calibration: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    clip: str | None = None
    alpha: float | None = None
    precision: str | None = None
    scores: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The content of the file in a model's folder."""
        return {"format": FORMAT, "bandbridge_version": __version__, **asdict(self)}


def read_card(folder: Path) -> Card | None:
    """The card in a folder; None if there is none.

    Raises:
        UserError: the card has a later format, or is damaged.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if content["format"] > FORMAT:
            raise UserError(f"{path} has format {content['format']}; this version reads {FORMAT}: update bandbridge.")
        names = {item.name for item in fields(Card)}
        values = {key: _frozen(value) for key, value in content.items() if key in names}
        card = Card(**values)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); export the model again.") from error
    if card.kind not in KINDS:
        raise UserError(f"{path}: kind is '{card.kind}', expected one of {', '.join(KINDS)}.")
    return card


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
