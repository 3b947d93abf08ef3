"""A STAC item that describes a model, by the Machine Learning Model extension (version 1.4)."""

import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bandbridge.base.errors import UserError
from bandbridge.catalogue.modalities import Composite
from bandbridge.use.card import Card
from bandbridge.use.model import Model

ITEM_FILE = "item.json"


def write_item(folder: Path, model: Model, card: Card) -> str:
    """Write `item.json`, checked against STAC's own schema.

    Returns:
        Why it was not written, if pystac is not installed; else ''.
    """
    if importlib.util.find_spec("pystac") is None:
        return f"Without {ITEM_FILE}: pystac is not installed (pip install 'bandbridge[stac]')."
    item = model_item(model, card, weights_in(folder))
    (folder / ITEM_FILE).write_text(json.dumps(item, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return ""


def weights_in(folder: Path) -> str:
    """The name of the file of weights in an exported folder."""
    for name in ("open_clip_model.safetensors", "model.safetensors"):
        if (folder / name).is_file():
            return name
    raise UserError(f"{folder}: no weights found; export the model again.")


def model_item(model: Model, card: Card, weights: str) -> dict[str, Any]:
    """The item as plain data.

    Raises:
        UserError: it breaks STAC's schema.
    """
    import pystac
    from pystac.extensions import mlm, raster
    from pystac.validation import JsonSchemaSTACValidator

    size, bands = model.image.size, list(model.bands)
    item = pystac.Item(
        id=card.name,
        geometry=None,
        bbox=None,
        datetime=datetime.now(UTC).replace(microsecond=0),
        properties={"title": card.title or card.name},
    )
    item.common_metadata.license = "other"
    described = mlm.ItemMLMExtension.ext(item, add_if_missing=True)
    described.apply(
        name=card.name,
        architecture=_architecture(model),
        tasks=[mlm.TaskType.SCENE_CLASSIFICATION, mlm.TaskType.SIMILARITY_SEARCH],
        framework="pytorch",
        framework_version=torch.__version__.partition("+")[0],
        total_parameters=sum(tensor.numel() for tensor in model.image.network.parameters()),
        pretrained=True,
        input=[
            mlm.ModelInput.create(
                name="pixels",
                bands=bands,
                input=mlm.InputStructure.create(
                    [-1, len(bands), size, size], ["batch", "channel", "height", "width"], raster.DataType.FLOAT32
                ),
                description=_description(model, card),
                pre_processing_function=mlm.ProcessingExpression.create("python", "bandbridge:load"),
            )
        ],
        output=[
            mlm.ModelOutput.create(
                name="embedding",
                tasks=[mlm.TaskType.SIMILARITY_SEARCH],
                result=mlm.ResultStructure.create([-1, model.dim], ["batch", "feature"], raster.DataType.FLOAT32),
                description="a unit vector in the space of the model's text encoder",
            )
        ],
    )
    asset = pystac.Asset(
        href=f"./{weights}",
        title="Weights",
        media_type="application/octet-stream; application=safetensors",
        roles=["mlm:model", "mlm:weights", "data"],
        extra_fields={"bands": [_band(card, name) for name in bands]},
    )
    item.add_asset("model", asset)
    mlm.AssetGeneralMLMExtension.ext(asset).apply(artifact_type="safetensors")
    content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    try:
        JsonSchemaSTACValidator().validate_core(content, pystac.STACObjectType.ITEM, pystac.get_stac_version())
    except pystac.STACValidationError as error:
        raise UserError(f"{ITEM_FILE} of {card.name} breaks STAC's schema: {error}") from error
    return content


def _description(model: Model, card: Card) -> str:
    resized = f"resized to {model.image.size} x {model.image.size} (bicubic, antialiased)"
    if model.parts.student is None:
        origin = f" made of {Composite.from_facts(card.composite).in_words()}" if card.composite else ""
        return f"RGB images{origin}, {resized}"
    return f"{card.units or 'values as the training data had them'}, {resized}"


def _band(card: Card, name: str) -> dict[str, Any]:
    from bandbridge.catalogue.sensors import SENSORS

    sensor_band = next((band for sensor in SENSORS.values() for band in sensor.bands if band.name == name), None)
    facts: dict[str, Any] = {"name": name}
    if sensor_band is not None and sensor_band.resolution:
        facts["gsd"] = sensor_band.resolution
    if card.units:
        facts["unit"] = card.units
    return facts


def _architecture(model: Model) -> str:
    student, clip = model.parts.student, model.parts.clip
    return student.spec.backbone if student is not None else str(clip.name)
