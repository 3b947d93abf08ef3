"""What a model carries besides its weights: bands, units, composite, templates, classes, licence, scores."""

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
# For a model that was trained under no templates that we know of (Radford et al. 2021 had one like the first).
PLAIN_TEMPLATES = ("a photo of {}.", "a satellite photo of {}.")


@dataclass(frozen=True)
class Card:
    """What is known of a model; empty or None where nothing is.

    Attributes:
        kind: 'student' (bands), 'clip' (pictures) or 'encoder' (of workflow/encoders).
        bands: that it takes, in its order; empty for pictures.
        sensor, product, units, resolution: of its training data; metres of a pixel.
        window: pixels of a side of its training samples, on which a map's windows are made by default.
        composite: `bands` in the order red, green, blue and `divisor`, the value that becomes white.
        templates: that a class's name fills.
        classes, prompts: of its training, and the sentences of each.
        calibration: see `calibration.Calibration`; None where no validation logits were available.
        data: data set, title, licence, attribution, citations of what it was trained on.
        clip, alpha: the CLIP whose text encoder it shares, and where on PAINT's line its image encoder, or its
            teacher, was chosen.
        precision: that it was trained in.
        scores: rows of metrics.csv that are of this model on test data.
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
        """As it is written into a model's folder."""
        return {"format": FORMAT, "bandbridge_version": __version__, **asdict(self)}


def read_card(folder: Path) -> Card | None:
    """The card of a folder; None where it has none.

    Raises:
        UserError: it is of a later format, or damaged.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if content["format"] > FORMAT:
            raise UserError(f"{path} has format {content['format']}; this version reads {FORMAT}: update bandbridge.")
        known = {item.name for item in fields(Card)}
        values = {key: _frozen(value) for key, value in content.items() if key in known}
        card = Card(**values)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); export the model again.") from error
    if card.kind not in KINDS:
        raise UserError(f"{path}: kind is '{card.kind}', expected one of {', '.join(KINDS)}.")
    return card


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
