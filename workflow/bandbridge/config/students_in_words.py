"""The students of a run and their alignment, described for tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from bandbridge.catalogue.titles import short_title
from bandbridge.config.lines import tasks
from bandbridge.config.networks import align_recipe, clips, student_facts, student_files, students

LOSSES = {"mse": "MSE", "cosine": "cosine", "infonce": "InfoNCE"}
FEW_BANDS = 4


def ablation_facts(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Encoder -> fact -> value of each student and its alignment, as tables show them."""
    several = len(clips(config)) > 1
    patched_on = ", ".join(short_title(task["dataset"]) for task in tasks(config, "patching"))
    facts = {}
    by_file = student_files(config)
    for encoder, (student, clip) in students(config).items():
        # How a student by file was aligned is not known.
        recipe = {} if student in by_file else align_recipe(config, student)
        values: dict[str, Any] = {"Loss": loss_terms(recipe)} if recipe else {"Weights": by_file[student]}
        if several:
            values["Teacher"] = clip
        values["Patched on"] = patched_on
        settings = student_facts(config, student)
        values["Bands"] = bands_text(settings["bands"])
        of_training = {"pretrained", "widen_rgb"} if student in by_file else set()
        values |= {key: settings[key] for key in settings if key not in {"bands", *of_training}}
        in_loss_terms = {"loss", "distillation_weight", "label_weight"}
        in_loss_terms |= set() if recipe.get("loss") == "infonce" else {"temperature"}
        values |= {key: recipe[key] for key in recipe if key not in in_loss_terms}
        facts[encoder] = {_fact_name(key): _text(value) for key, value in values.items()}
    return facts


def loss_terms(recipe: Mapping[str, Any]) -> str:
    """'MSE + 0.05 labels' of a recipe's two terms and their weights."""
    terms = (
        (recipe["distillation_weight"], LOSSES.get(recipe["loss"], recipe["loss"])),
        (recipe["label_weight"], "labels"),
    )
    return " + ".join(term if weight == 1 else f"{weight:g} {term}" for weight, term in terms if weight)


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
