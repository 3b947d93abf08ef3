"""Checks of a configuration's data sets, and of their tasks, prompts and nomenclatures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bandbridge.base.errors import UserError, choices, did_you_mean
from bandbridge.base.model_faults import model_faults
from bandbridge.base.model_forms import with_paths
from bandbridge.catalogue.datasets import (
    Dataset,
    dataset_names,
    label_map,
    load_dataset,
    load_nomenclature,
    nomenclature_names,
    prompt_set,
    prompt_set_names,
    read_yaml,
)
from bandbridge.catalogue.option_models import OPTION_MODELS
from bandbridge.catalogue.reader_options import options_of
from bandbridge.catalogue.sensors import order_bands, sensor_of
from bandbridge.config.lines import tasks
from bandbridge.config.networks import uses_scratch
from bandbridge.config.scored import evaluated, prompts


def configured(config: Mapping[str, Any], name: str) -> Dataset:
    """A data set with the configuration's options."""
    return load_dataset(name, config["datasets"].get(name))


def option_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each option of a data set that its reader does not have, or that has the wrong type."""
    for name, options in config["datasets"].items():
        if name not in dataset_names():
            continue  # reported with the other names
        try:
            facts = read_yaml("datasets", name)
        except UserError as error:
            yield from str(error).splitlines()
            continue
        yield from model_faults(options, OPTION_MODELS[facts["reader"]], under=f"datasets.{name}")


def with_option_paths(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration with the paths in its data sets' options expanded, and a sentence for each faulty path."""
    expanded, faults = {}, []
    for name, options in config["datasets"].items():
        expanded[name] = options
        if name in dataset_names():
            model = OPTION_MODELS[read_yaml("datasets", name)["reader"]]
            expanded[name], wrong = with_paths(options, model, under=f"datasets.{name}")
            faults += wrong
    return {**config, "datasets": expanded}, faults


def _tasks(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every task with its key in the configuration."""
    for role in ("patching", "supported"):
        several = isinstance(config["tasks"][role], list)
        for number, task in enumerate(tasks(config, role)):
            yield f"tasks.{role}" + (f"[{number}]" if several else ""), task
    if config["align"]["task"]:
        yield "align.task", config["align"]["task"]


def _named_datasets(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every (key, data set name) of the configuration."""
    for key, task in _tasks(config):
        yield f"{key}.dataset", task["dataset"]
    for name in config["evaluate"]["datasets"]:
        yield "evaluate.datasets", name
    for name in config["datasets"]:
        yield "datasets", name
    if uses_scratch(config) and "scratch" in config["clip"]:
        yield "clip.scratch.dataset", config["clip"]["scratch"]["dataset"]


def dataset_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each data set that does not exist, whose facts contradict each other, or that lacks a split."""
    available = dataset_names()
    for key, name in _named_datasets(config):
        if name not in available:
            yield f"{key} names the data set '{name}'; there are (workflow/datasets/): {choices(name, available)}"
    usable: dict[str, Dataset] = {}
    for name in sorted({name for _, name in _named_datasets(config)} & set(available)):
        try:
            usable[name] = configured(config, name)
            faults = list(_fact_faults(usable[name]))
        except UserError as error:
            faults = str(error).splitlines()
        yield from (fault if fault.startswith("workflow/") else f"{_place(config, name)}: {fault}" for fault in faults)
    for key, name, needed, why in _needed_splits(config):
        if name in usable:
            splits = usable[name].splits
            missing = [split for split in needed if split not in splits]
            if missing:
                yield (
                    f"{key} is '{name}', which has no split {' and no '.join(missing)} (it has {', '.join(splits)}): "
                    f"{why}. Name another data set, or divide this one in workflow/datasets/{name}.yaml."
                )
    for name in evaluated(config):
        if name in usable and not set(usable[name].splits) & {"val", "test"}:
            yield f"evaluate.datasets names '{name}', which has only the split train; scores are made of val and test."


def _place(config: Mapping[str, Any], name: str) -> str:
    """Where a data set is described."""
    file = f"workflow/datasets/{name}.yaml"
    return f"{file} with datasets.{name}" if config["datasets"].get(name) else file


def _needed_splits(config: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """(key, data set, splits that it must have, what for)."""
    for key, task in _tasks(config):
        if key.startswith("tasks.patching"):
            yield f"{key}.dataset", task["dataset"], ("train", "val"), "CLIP learns from train, alpha is chosen on val"
        elif key.startswith("tasks.supported"):
            yield f"{key}.dataset", task["dataset"], ("val",), "alpha is chosen on val"
        else:
            yield f"{key}.dataset", task["dataset"], ("train",), "students learn from train"
    if uses_scratch(config) and "scratch" in config["clip"]:
        yield "clip.scratch.dataset", config["clip"]["scratch"]["dataset"], ("train",), "CLIP learns from train"


def _fact_faults(dataset: Dataset) -> Iterator[str]:
    """A sentence for each contradiction that the models of a data set's file and options cannot detect."""
    names, allowed = dataset.nomenclatures, nomenclature_names()
    for name in names:
        if name not in allowed:
            yield (
                f"labels.nomenclatures names '{name}'; there are (workflow/nomenclatures/): {choices(name, allowed)}"
            )
            return
    for name in names[1:]:
        label_map(load_nomenclature(names[0]), load_nomenclature(name))
    if dataset.primary.composite is None and not dataset.primary.is_rgb:
        yield (
            f"modalities.{dataset.primary.name} has no composite, which says how CLIP sees it: name three bands and a "
            "divisor, ranges or percentiles."
        )
    for modality in dataset.modalities:
        sensor_of(modality)
        named_bands = (*modality.zero_bands, *(modality.composite.bands if modality.composite else ()))
        order_bands(modality.bands, named_bands, may_lack=())
    filled = options_of(dataset).filled_splits
    if filled is not None and filled != set(dataset.splits):
        empty, unlisted = set(dataset.splits) - filled, filled - set(dataset.splits)
        wrong = f"leave the split {', '.join(sorted(empty))} without samples" if empty else ""
        wrong = wrong or f"put samples in the split {', '.join(sorted(unlisted))}, which `splits` does not list"
        yield f"its options {wrong}; divide it otherwise, or list only {', '.join(sorted(filled))} under `splits`."


def prompt_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each prompt set that does not exist, or does not fit a data set's classes."""
    available = sorted({*prompt_set_names(), *config["prompts"]})
    uses = [(f"{key}.prompts", task["prompts"]) for key, task in _tasks(config)]
    uses += [(f"evaluate.datasets.{name}", p) for name, sets in config["evaluate"]["datasets"].items() for p in sets]
    if uses_scratch(config) and "scratch" in config["clip"]:
        uses.append(("clip.scratch.prompts", config["clip"]["scratch"]["prompts"]))
    for key, name in uses:
        if name not in available:
            yield (
                f"{key} names the prompt set '{name}'; there are (workflow/prompts/ and `prompts`): "
                f"{choices(name, available)}"
            )
    sets = {dataset: list(names) for dataset, names in evaluated(config).items()}
    if task := config["align"]["task"]:
        sets.setdefault(task["dataset"], []).append(task["prompts"])
    for dataset, names in sets.items():
        if dataset in dataset_names():
            used = [name for name in dict.fromkeys(names) if name in available]
            yield from _prompted_class_faults(config, dataset, used)
    if uses_scratch(config) and "scratch" in config["clip"] and config["clip"]["scratch"]["prompts"] in available:
        captions = config["clip"]["scratch"]["prompts"]
        if not prompt_set(prompts(config, captions)).templates:
            yield f"clip.scratch.prompts is '{captions}', a prompt set without templates, which captions are made of."


def _prompted_class_faults(config: Mapping[str, Any], dataset: str, sets: Sequence[str]) -> Iterator[str]:
    """A sentence for each class that a prompt set names and the data set lacks."""
    available = set(nomenclature_names()) & set(load_dataset(dataset).nomenclatures)
    classes = {name for nomenclature in available for name in load_nomenclature(nomenclature).classes}
    for name in sets:
        prompted = prompt_set(prompts(config, name))
        for unknown in sorted({*prompted.names, *prompted.classes} - classes):
            yield (
                f"the prompt set '{name}' has its own words for '{unknown}', which is not a class of {dataset}."
                f"{did_you_mean(unknown, sorted(classes))}"
            )
        if not prompted.templates and classes - set(prompted.classes):
            yield (
                f"the prompt set '{name}' has no templates, and classes of {dataset} have no sentences; add templates."
            )


def task_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each task that is listed twice or in two roles, or whose nomenclature its data set lacks."""
    patching = [task["dataset"] for task in tasks(config, "patching")]
    for task in tasks(config, "supported"):
        if task["dataset"] in patching:
            yield (
                f"tasks.supported.dataset is '{task['dataset']}', which is also a patching task; "
                "a supported task is one that patching must not change: name another data set, or null."
            )
    for role in ("patching", "supported"):
        named = [task["dataset"] for task in tasks(config, role)]
        for name in sorted({name for name in named if named.count(name) > 1}):
            yield f"tasks.{role} lists the data set '{name}' twice; list each once."
    for key, task in _tasks(config):
        if "nomenclature" in task and task["dataset"] in dataset_names():
            allowed = load_dataset(task["dataset"]).nomenclatures
            if task["nomenclature"] not in allowed:
                yield (
                    f"{key}.nomenclature is '{task['nomenclature']}'; {task['dataset']} has: "
                    f"{choices(task['nomenclature'], allowed)}"
                )


def nomenclature_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each nomenclature that is to be scored and that its data set lacks."""
    for dataset, names in config["evaluate"]["nomenclatures"].items():
        if dataset not in evaluated(config):
            datasets = list(evaluated(config))
            yield (
                f"evaluate.nomenclatures names '{dataset}', which is not evaluated; evaluated are: "
                f"{choices(dataset, datasets)}"
            )
        elif dataset in dataset_names():
            allowed = load_dataset(dataset).nomenclatures
            for name in names:
                if name not in allowed:
                    yield (
                        f"evaluate.nomenclatures.{dataset} names '{name}'; the data set has: {choices(name, allowed)}"
                    )
