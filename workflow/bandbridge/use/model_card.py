"""A model card: README.md with the metadata fields of the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bandbridge.use.card import Card
from bandbridge.use.model import Model

CARD_FILE = "README.md"
# Of the scores that a card shows; the others are in bandbridge.json.
TASKS = {"zero-shot": "zero-shot-image-classification", "words": "image-text-retrieval"}


def write_model_card(folder: Path, model: Model, card: Card) -> None:
    """Write README.md: intended use, data, scores, limits, and how to load the model."""
    front = yaml.safe_dump(_metadata(model, card), sort_keys=False, allow_unicode=True)
    (folder / CARD_FILE).write_text(f"---\n{front}---\n\n{_text(model, card)}", encoding="utf-8")


def _metadata(model: Model, card: Card) -> dict[str, Any]:
    student = model.parts.student is not None
    results = [_result(row) for row in card.scores if row.get("task") in TASKS]
    data: dict[str, Any] = {
        "license": "other",
        "license_name": "see-data-licence",
        "library_name": "timm" if student else "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["remote-sensing", "satellite", "clip", "bandbridge", *(["multispectral"] if student else [])],
    }
    if name := card.data.get("dataset"):
        data["datasets"] = [name]
    if results:
        data["model-index"] = [{"name": card.name, "results": results}]
    return data


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": {"type": TASKS[row["task"]]},
        "dataset": {"type": row["dataset"], "name": row["dataset"], "split": "test"},
        "metrics": [{"type": row["metric"], "value": row["value"], "name": f"{row['metric']} ({row['prompts']})"}],
    }


def _text(model: Model, card: Card) -> str:
    return "\n\n".join(filter(None, [
        f"# {card.title or card.name}",
        _what(model, card),
        "## Use\n\n" + _how(model),
        "## Intended use\n\n" + _intended(card),
        "## Data\n\n" + _data(card),
        "## Scores\n\n" + _scores(card),
        "## Limits\n\n" + _limits(card),
        "## Method\n\nPatched with PAINT (Ilharco et al. 2022) and aligned by distillation, after Zavras et al., "
        "*Mind the Modality Gap* (ISPRS Journal of Photogrammetry and Remote Sensing, 2025). Made with BandBridge "
        f"{card.versions.get('bandbridge', '')}.",
    ])) + "\n"  # fmt: skip


def _what(model: Model, card: Card) -> str:
    if model.parts.student is not None:
        student = model.parts.student
        return (
            f"A {student.spec.backbone} that sees {len(model.bands)} bands ({', '.join(model.bands)}) of "
            f"{card.sensor or 'a multispectral sensor'}, and a linear layer to the {model.dim} values of the CLIP "
            f"{card.clip or ''}, to which it was aligned. Images and words are compared by the cosine of their "
            "embeddings."
        )
    alpha = (
        ""
        if card.alpha is None
        else f", its image encoder at alpha {card.alpha:g} between zero-shot and fine-tuned weights"
    )
    return f"A CLIP ({card.clip or card.name}) for satellite pictures{alpha}; {model.dim} values per embedding."


def _how(model: Model) -> str:
    own = (
        "With BandBridge:\n\n```python\nimport bandbridge\n\nmodel = bandbridge.load(\"FOLDER\")\n"
        "model.classify(\"image.tif\", \"forest, water, fields\").top(2)\n```"
    )  # fmt: skip
    if model.parts.student is None:
        return own + (
            "\n\nWith open_clip alone:\n\n```python\nimport open_clip\n\n"
            "model, preprocess = open_clip.create_model_from_pretrained(\"local-dir:FOLDER\")\n```"
        )  # fmt: skip
    return own + (
        "\n\nWith timm alone (`input.json` says how bands become the input):\n\n```python\nimport timm, torch\n"
        "from safetensors.torch import load_file\n\ntrunk = timm.create_model(\"local-dir:FOLDER\", "
        "pretrained=True).eval()\nlinear = load_file(\"FOLDER/projection.safetensors\")\n"
        "embedding = torch.nn.functional.linear(trunk(bands), linear[\"weight\"], linear[\"bias\"])\n```\n\n"
        "`text/` is the CLIP whose text encoder belongs to it, an open_clip model directory."
    )  # fmt: skip


def _intended(card: Card) -> str:
    where = " ".join(filter(None, [card.sensor, card.product])) or "images like its training data"
    size = (
        f" in windows of about {card.window} pixels of {card.resolution:g} m" if card.window and card.resolution else ""
    )
    return (
        f"Zero-shot classification, search and mapping of {where}{size}; research. Check it on your own labels first."
    )


def _data(card: Card) -> str:
    data = card.data
    facts = {
        "Trained on": data.get("title") or data.get("dataset"),
        "Licence of the data": data.get("licence"),
        "Attribution": data.get("attribution"),
        "Classes": ", ".join(card.classes),
        "Templates": "; ".join(card.templates),
        "Units": card.units,
        "Precision of the training": card.precision,
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    return "\n".join(lines) or "Not recorded."


def _scores(card: Card) -> str:
    rows = [row for row in card.scores if row.get("task") in TASKS]
    if not rows:
        return "None recorded."
    lines = ["| data set | task | prompts | metric | value | 95 % interval |", "|---|---|---|---|---|---|"]
    for row in rows:
        interval = "" if row.get("ci_low") is None else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
        cells = [row["dataset"], row["task"], row["prompts"] or "", row["metric"], f"{row['value']:.3f}", interval]
        lines.append(f"| {' | '.join(cells)} |")
    return "On test data, which it was not trained on.\n\n" + "\n".join(lines)


def _limits(card: Card) -> str:
    confidence = (
        "Probabilities are calibrated for the classes above alone; for other words there are cosines, which are no "
        "probabilities."
        if card.calibration
        else "Its scores are cosines, not probabilities."
    )
    return (
        f"{confidence} Other sensors, product levels, seasons, regions and window sizes than those of its training "
        "lower the scores by an unknown amount. It says which of the words fits best, also where none does."
    )
