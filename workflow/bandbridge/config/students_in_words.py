"""What the students of a run are and how they are aligned, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from bandbridge.catalogue.titles import short_title
from bandbridge.config.lines import tasks
from bandbridge.config.networks import align_recipe, clips, student_facts, students

LOSSES = {"mse": "MSE", "cosine": "cosine", "infonce": "InfoNCE"}
FEW_BANDS = 4


def ablation_facts(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What each student is and how it was aligned, in words: encoder -> fact -> value."""
    several = len(clips(config)) > 1
    patched_on = ", ".join(short_title(task["dataset"]) for task in tasks(config, "patching"))
    facts = {}
    for encoder, (student, clip) in students(config).items():
        recipe = align_recipe(config, student)
        values: dict[str, Any] = {"Loss": loss_terms(recipe)}
        if several:
            values["Teacher"] = clip
        values["Patched on"] = patched_on
        own = student_facts(config, student)
        values["Bands"] = bands_text(own["bands"])
        values |= {key: own[key] for key in own if key != "bands"}
        said = {"loss", "distillation_weight", "label_weight"}
        said |= set() if recipe["loss"] == "infonce" else {"temperature"}
        values |= {key: recipe[key] for key in recipe if key not in said}
        facts[encoder] = {_fact_name(key): _text(value) for key, value in values.items()}
    return facts


def loss_terms(recipe: Mapping[str, Any]) -> str:
    """'MSE + 0.05 labels' of a recipe's two terms and their weights."""
    terms = (
        (recipe["distillation_weight"], LOSSES.get(recipe["loss"], recipe["loss"])),
        (recipe["label_weight"], "labels"),
    )
    return " + ".join(what if weight == 1 else f"{weight:g} {what}" for weight, what in terms if weight)


def bands_text(bands: Sequence[str]) -> str:
    """'13 bands', or the names of a few."""
    return " ".join(bands) if len(bands) <= FEW_BANDS else f"{len(bands)} bands"


def _fact_name(key: str) -> str:
    return key if key[0].isupper() else key.replace("_", " ").capitalize()


def _text(value: Any) -> str:
    """A value of the configuration as a table shows it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
