"""Checks of a configuration's training, interpolation, probes and tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bandbridge.base.alphas import SMALLEST, alpha_name
from bandbridge.base.errors import choices
from bandbridge.base.paths import chosen_on
from bandbridge.catalogue.datasets import dataset_names
from bandbridge.config.data import configured
from bandbridge.config.lines import align_task, lines, model_at, tasks
from bandbridge.config.networks import (
    align_recipe,
    fine_tunes,
    other_encoders,
    student_files,
    students,
    uses_scratch,
)
from bandbridge.config.scored import evaluated
from bandbridge.config.sizes import most_samples

# Names of models by their role, for `tables.models`.
ROLES = ("zero-shot", "patched", "fine-tuned", "aligned")


def paint_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each fault of the alphas and of the choice among them."""
    alphas, select = config["paint"]["alphas"], config["paint"]["select"]
    if 0 not in alphas:
        yield "paint.alphas lacks 0, the zero-shot model; both ends of the line are needed."
    if 1 not in alphas and fine_tunes(config):
        yield "paint.alphas lacks 1, the fine-tuned model; both ends of the line are needed."
    several = config["paint"]["several"]
    if config["paint"].get("coefficients") == "jointly":
        patching = tasks(config, "patching")
        if several != "in_parallel" or len(patching) < 2:
            yield (
                f"paint.coefficients is 'jointly', a search over the sum of several tasks' fine-tunings, but "
                f"paint.several is '{several}' with {len(patching)} patching task(s); set several to 'in_parallel' and "
                "list the tasks, or coefficients to 'separately'."
            )
        for name in {task["dataset"] for role in ("patching", "supported") for task in tasks(config, role)}:
            if name in dataset_names() and "val" not in configured(config, name).splits:
                yield f"paint.coefficients is 'jointly', which needs the split val of every task; {name} has none."
    for number, alpha in enumerate(alphas):
        if 0 < alpha < SMALLEST:
            yield f"paint.alphas[{number}] is {alpha}; expected 0 or at least {SMALLEST}: less changes nothing."
    if select["criterion"] == "fixed" and select["alpha"] not in alphas:
        listed = ", ".join(map(alpha_name, alphas))
        yield f"paint.select.alpha is {alpha_name(select['alpha'])}, which is not in paint.alphas ({listed})."
    if select["criterion"] != "fixed" and not tasks(config, "supported"):
        yield (
            f"paint.select.criterion is '{select['criterion']}', which weighs the patching task against a supported "
            "task, and tasks.supported is null; use 'fixed'."
        )


def recipe_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each training that could not run, or would not learn what is configured."""
    if uses_scratch(config) and "scratch" in config["clip"]:
        scratch = config["clip"]["scratch"]
        yield from _training_faults(config, "clip.scratch", scratch, [scratch["dataset"]])
    if fine_tunes(config):
        patching = [task["dataset"] for task in tasks(config, "patching")]
        trainings = [[name] for name in patching] if config["paint"]["several"] != "jointly" else [patching]
        for datasets in trainings:
            yield from _training_faults(config, "finetune", config["finetune"], datasets)
        yield from _crop_faults("finetune.augmentation", config["finetune"]["augmentation"])
    student_datasets, by_file = [align_task(config)["dataset"]], student_files(config)
    for name, student in config["align"]["students"].items():
        if name in by_file:
            continue
        recipe = align_recipe(config, name)
        where = f"align.students.{name}.recipe" if student.get("recipe") else "align"
        yield from _training_faults(config, where, recipe, student_datasets)
        yield from _crop_faults(where, recipe)
        yield from (f"{where}.{fault}" for fault in alignment_faults(recipe))


def alignment_faults(recipe: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each way in which an alignment would not learn what its recipe says."""
    if not recipe["distillation_weight"] and not recipe["label_weight"]:
        yield "distillation_weight and label_weight are both 0; nothing would be learnt."
    if recipe["loss"] == "infonce" and recipe["batch_size"] < 2:
        yield "batch_size is 1, but the loss infonce compares the samples of a batch; expected at least 2."
    if recipe["cache_teacher"] and (list(recipe["crop_scale"]) != [1, 1] or recipe["flip"]):
        yield (
            "cache_teacher is true, but images change from epoch to epoch, and with them what the teacher sees: set "
            "crop_scale to [1, 1] and flip to 0, or cache_teacher to false."
        )


def _crop_faults(where: str, recipe: Mapping[str, Any]) -> Iterator[str]:
    low, high = recipe["crop_scale"]
    if low > high:
        yield f"{where}.crop_scale is [{low}, {high}]; expected the smaller share of the area first: [{high}, {low}]."
    elif not low:
        yield f"{where}.crop_scale is [{low}, {high}]; a crop needs an area: expected more than 0."


def _training_faults(
    config: Mapping[str, Any], where: str, recipe: Mapping[str, Any], datasets: Sequence[str]
) -> Iterator[str]:
    processes, size = config["train"]["gpus"] * config["train"]["nodes"], recipe["batch_size"]
    if size < processes:
        yield (
            f"{where}.batch_size is {size}, fewer samples than the {processes} processes that share a batch "
            "(train.gpus times train.nodes)."
        )
    most = [most_samples(configured(config, name), "train") for name in datasets if name in dataset_names()]
    if len(most) < len(datasets) or None in most:
        return
    samples = sum(count for count in most if count is not None)
    names = " and ".join(datasets)
    if size > samples:
        yield f"{where}.batch_size is {size}, but the split train of {names} has no more than {samples} samples."
        return
    steps = recipe["epochs"] * math.ceil(samples / size)
    if recipe["warmup_steps"] >= steps:
        yield (
            f"{where}.warmup_steps is {recipe['warmup_steps']}, but the training has no more than {steps} steps "
            f"({recipe['epochs']} epochs of {samples} samples of {names} in batches of {size}): the learning rate "
            "would still be rising at its end."
        )


def probe_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each data set that cannot be probed."""
    probed = (config["evaluate"]["linear_probe"] or {}).get("datasets", [])
    allowed = list(evaluated(config))
    for name in probed:
        if name not in allowed:
            yield (
                f"evaluate.linear_probe.datasets names '{name}', which is not evaluated; evaluated are: "
                f"{choices(name, allowed)}"
            )
        elif name in dataset_names() and len(configured(config, name).splits) < 3:
            yield f"evaluate.linear_probe.datasets names '{name}', which lacks one of the splits train, val and test."


def table_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each model or data set of `tables` that the run does not have."""
    datasets = list(evaluated(config))
    for name in config["tables"]["datasets"] or ():
        if name not in datasets:
            yield f"tables.datasets names '{name}', which is not evaluated; evaluated are: {choices(name, datasets)}"
    line_models = [*map(chosen_on, lines(config))]
    line_models += [model_at(line, alpha) for line in lines(config).values() for alpha in config["paint"]["alphas"]]
    models = list(dict.fromkeys([*ROLES, *students(config), *other_encoders(config), *line_models]))
    for name in config["tables"]["models"] or ():
        if name not in models:
            yield f"tables.models names '{name}'; there are: {choices(name, models)} null shows all."
