"""Summaries of models and maps, to read."""

import json
from typing import Any

from bandbridge.catalogue.modalities import Composite
from bandbridge.use.mapping import Mapped
from bandbridge.use.model import Model


def as_text(model: Model) -> str:
    """A model in lines: its input, metadata and scores."""
    card, data = model.card, model.card.data
    facts = {
        "model": card.title or card.name,
        "kind": {"student": "multispectral student", "clip": "CLIP", "encoder": "published encoder"}[card.kind],
        "takes": f"{', '.join(model.bands)}, {model.image.size} x {model.image.size} pixels",
        "sensor": " ".join(filter(None, [card.sensor, card.product])),
        "units": card.units or "",
        "windows": f"{card.window} pixels of {card.resolution:g} m" if card.window and card.resolution else "",
        "composite": Composite.from_facts(card.composite).in_words() if card.composite else "",
        "embeddings": f"{model.dim} values",
        "classes": ", ".join(card.classes),
        "templates": "; ".join(card.templates),
        "confidence": _confidence(card.calibration),
        "CLIP": card.clip or "",
        "alpha": "" if card.alpha is None else f"{card.alpha:g}",
        "trained on": str(data.get("title") or ""),
        "licence": str(data.get("licence") or ""),
        "attribution": str(data.get("attribution") or ""),
        "precision": card.precision or "",
        "SHA-256": model.digest,
    }
    lines = [f"{name:<12}{value}" for name, value in facts.items() if value]
    scores = [_score(row) for row in card.scores if row.get("task") in ("zero-shot", "words")]
    return "\n".join([*lines, *(["", "on test data:", *scores] if scores else [])])


def as_json(model: Model) -> str:
    """The same as JSON, for programs."""
    facts: dict[str, Any] = model.card.as_json()
    facts |= {"dim": model.dim, "image_size": model.image.size, "sha256": model.digest, "takes": list(model.bands)}
    return json.dumps(facts, indent=2, ensure_ascii=False)


def area_table(done: Mapped) -> str:
    """A map's classes with their areas, and its file."""
    width = max(len(area.name) for area in done.areas) + 2
    lines = [
        f"{area.name:<{width}}{area.share:6.1%}" + ("" if area.km2 is None else f"{area.km2:12,.2f} km2")
        for area in done.areas
    ]
    nothing = f"\nwithout a class: {done.no_data:,} pixels" if done.no_data else ""
    scores = f"\n{done.measure} of each class: {done.scores}" if done.scores else ""
    return (
        f"{done.out} ({done.window} x {done.window} pixels every {done.stride})\n" + "\n".join(lines) + nothing + scores
    )


def _confidence(calibration: Any) -> str:
    if calibration is None:
        return "cosine (no validation data)"
    return (
        f"probability, fitted on {calibration['samples']:,} validation samples (calibration error "
        f"{calibration['ece']:.1%}); cosine for other labels"
    )


def _score(row: Any) -> str:
    interval = "" if row.get("ci_low") is None else f" ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
    what = f"{row['dataset']}, {row['task']}, {row['metric']}" + (f" ({row['prompts']})" if row.get("prompts") else "")
    return f"  {what:<60}{row['value']:.3f}{interval}"
