"""Configurations with typical mistakes, and the errors that would stop a run that accepted them."""

import copy
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml

from bandbridge.catalogue.datasets import dataset_names, load_dataset, load_nomenclature, merged, prompt_set
from bandbridge.catalogue.encoders import load_encoder_facts
from bandbridge.catalogue.option_models import OPTIONS
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.config import lines as patched
from bandbridge.config import networks, resources, scored
from bandbridge.models.students import Student, StudentSpec
from bandbridge.training.augment import draw_crops, rgb_view
from bandbridge.training.draws import Draws
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe, ScratchRecipe, warmup_cosine

ROOT = Path(__file__).parents[2]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PRESETS = (["demo-openai"], ["eurosat"], ["eurosat", "eurosat-100"], ["eurosat", "ablations"], ["paper"])

Place = tuple[str | int, ...]
Change = Callable[[Random, dict[str, Any]], None]


def bases() -> list[dict[str, Any]]:
    """The demo, half of all, and the presets."""
    laid = []
    for names in PRESETS:
        config = DEMO
        for name in names:
            config = merged(config, yaml.safe_load((ROOT / "workflow/presets" / f"{name}.yaml").read_text()))
        laid.append(config)
    return [*([DEMO] * len(laid)), *laid]


BASES = bases()


@dataclass(frozen=True)
class Mutant:
    """A configuration as YAML reads it, and the kinds of the mistakes in it."""

    kinds: tuple[str, ...]
    config: Any


def mutant(random: Random, kind: str | None = None) -> Mutant:
    """One of the bases with one mistake, which is of a kind if one is given, seldom two."""
    config = copy.deepcopy(random.choice(BASES))
    kinds = [random.choice(sorted(CHANGES)) for _ in range(random.choice((1, 1, 1, 2)))]
    if kind is not None:
        kinds[0] = kind
    for name in kinds:
        CHANGES[name](random, config)
    # As a file and YAML's reader would hand it on.
    return Mutant(tuple(kinds), yaml.load(yaml.dump(config, Dumper=yaml.CSafeDumper), Loader=yaml.CSafeLoader))


# --- mistakes ---------------------------------------------------------------------------------------------------------

NUMBERS = (math.nan, math.inf, -math.inf, -1, -0.5, -0.0, 0, 1e-320, 1e30, 10**30, 32.0, 2.5, True, False)
OF_ANOTHER_TYPE = (None, "", "1e-5", "12", "1e3", "3,5", "no", "yes please", [], {}, [1], {"a": 1}, [None], 0, True)
NAMES = (
    "",
    " ",
    "a\n",
    "demo\n",
    "a b",
    "{x}",
    "a{dataset}b",
    "ä",
    "x" * 300,
    "../up",
    ".",
    "a/b",
    "no",
    "$X",
)
PATHS = ("~", "~/deep/er", "~nobody-at-all/x", "$NOT_SET_AT_ALL/x", "${NOT_SET_AT_ALL}", "$", "a{b}", "a\n", " a", "a ")
PATHS += (
    "data",
    "results",
    "logs",
    "data/zarr",
    "data/archives",
    "workflow",
    "config.yaml",
    "./data/",
    "a b'c\"d",
    ".",
)
ODD_KEYS = (0, 1, True, False, None, 3.5, "no", "a\n", "", 111)
ALPHAS = (0, 1, -0.0, 0.5, 0.5000000001, 1e-5, 1e-4, 0.1234567, 0.12345671, 0.30000000000000004, 1e-15, 2, -0.1, "0.5")


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The paths of all values of a configuration, mappings and lists included."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from places(item, (*place, key))


def at(config: Any, place: Place) -> Any:
    for step in place:
        config = config[step]
    return config


def put(config: Any, place: Place, value: Any) -> None:
    at(config, place[:-1])[place[-1]] = value


def of_kind(config: Any, *kinds: type) -> list[Place]:
    matching = [place for place in places(config) if type(at(config, place)) in kinds]
    return matching or [("run",)]


def number(random: Random, config: dict[str, Any]) -> None:
    place = random.choice(of_kind(config, int, float))
    value = at(config, place)
    near = (value * 10**6, -value, float(value), value + 0.5, str(value), value * 1000) if value is not None else ()
    put(config, place, random.choice((*NUMBERS, *near)))


def another_type(random: Random, config: dict[str, Any]) -> None:
    put(config, random.choice(list(places(config))), copy.deepcopy(random.choice(OF_ANOTHER_TYPE)))


def text(random: Random, config: dict[str, Any]) -> None:
    place = random.choice(of_kind(config, str))
    value = at(config, place)
    slips = (value[1:], f"{value}\n", value.upper(), [value], {value: value}, f"{value}x", 3.1, False)
    put(config, place, random.choice((*NAMES, *slips)))


def list_or_mapping(random: Random, config: dict[str, Any]) -> None:
    place = random.choice(of_kind(config, list, dict))
    value = at(config, place)
    whole = list(value) if isinstance(value, list) else list(value.items())
    put(config, place, random.choice((None, [], {}, whole[::-1], whole * 2, whole[:1], "a text", 3, value)))


def key(random: Random, config: dict[str, Any]) -> None:
    mapping = at(config, random.choice(((), *of_kind(config, dict))))
    if not isinstance(mapping, dict):
        return
    names = list(mapping)
    match random.choice(("lost", "misspelt", "odd")) if names else "odd":
        case "lost":
            del mapping[random.choice(names)]
        case "misspelt":
            name = random.choice(names)
            mapping[f"{name}s" if isinstance(name, str) else "x"] = mapping.pop(name)
        case _:
            mapping[random.choice(ODD_KEYS)] = copy.deepcopy(next(iter(mapping.values()), {}))


def path(random: Random, config: dict[str, Any]) -> None:
    fields: list[Place] = [("data_root",), ("store_root",), ("results_root",), ("log_root",), ("clip", "pretrained")]
    fields += [("align", "students", name, "pretrained") for name in config["align"].get("students") or ()]
    fields += [("container",), ("compare",)]
    field = random.choice(fields)
    value = random.choice(PATHS)
    try:
        put(config, field, [value] if field == ("compare",) else value)
    except (TypeError, KeyError):  # where another mistake has taken its place
        return


def alphas(random: Random, config: dict[str, Any]) -> None:
    config["paint"] = {
        "several": "jointly",
        "alphas": [0, 1, *random.sample(ALPHAS, random.randint(1, 4))],
        "select": {"criterion": "fixed", "max_loss": 0, "alpha": random.choice(ALPHAS)},
    }


def option(random: Random, config: dict[str, Any]) -> None:
    name = random.choice(("digits", "demo_land_cover", "eurosat_ms", "imagenet", "sen12ms", "bigearthnet_v2"))
    options = list(load_dataset(name).options)
    values = (*NUMBERS, *OF_ANOTHER_TYPE, *PATHS, "nearest", ["tt"], {"val": 0.2, "test": 0.9}, {"train": 0}, {0: "x"})
    chosen = random.choice((*options, "modalities", "convert_jobs", "treatment"))
    datasets = config.get("datasets")
    config["datasets"] = datasets if isinstance(datasets, dict) else {}
    options = config["datasets"].get(name)
    config["datasets"][name] = {**(options if isinstance(options, dict) else {}), chosen: random.choice(values)}


def student(random: Random, config: dict[str, Any]) -> None:
    students = config["align"].get("students")
    if not isinstance(students, dict) or not any(isinstance(item, dict) for item in students.values()):
        return
    chosen = random.choice([item for item in students.values() if isinstance(item, dict)])
    chosen.update(
        random.choice(
            (
                {"backbone": random.choice(("resnet18", "resnet", "vit_tiny_patch16_225", "", "resnet18 "))},
                {"options": {**(chosen.get("options") or {}), "patch_size": random.choice((0, 5, 7, "8", 64, 8.0))}},
                {"options": {**(chosen.get("options") or {}), "num_heads": random.choice((0, 3, 5, -1, "3", 10**6))}},
                {"options": {**(chosen.get("options") or {}), "depth": random.choice((0, -1, 2.5, 10**7, "four"))}},
                {"options": {**(chosen.get("options") or {}), "in_chans": 3}},
                {"options": {**(chosen.get("options") or {}), "not_an_option": 1}},
                {"image_size": random.choice((1, 7, 33, 225, 10**9))},
                {"bands": random.choice((["B02"], ["B02", "B02"], ["VV", "VH"], [2, 3], ["B2"], []))},
                {"modality": random.choice(("s1", "s2", "rgb", ""))},
                {"widen_rgb": True},
                {"fill": "error"},
                {"recipe": {"epochs": random.choice((0, 1.0, -1, 10**30)), "crop_scale": [1, 0.5]}},
                {"recipe": {"loss": "infonce", "batch_size": random.choice((1, 2))}},
            )
        )
    )


def task(random: Random, config: dict[str, Any]) -> None:
    role = random.choice(("patching", "supported"))
    value = {"dataset": random.choice(dataset_names()), "prompts": random.choice(("plain", "digits", "imagenet-80"))}
    config["tasks"] = config["tasks"] if isinstance(config.get("tasks"), dict) else {}
    config["tasks"][role] = random.choice((value, [value], [value, value], None))


def training(random: Random, config: dict[str, Any]) -> None:
    places = [("clip", "scratch"), ("finetune",), ("align",), ("train",)]
    place = random.choice(places)
    try:
        section = at(config, place)
        name = random.choice(("batch_size", "warmup_steps", "epochs", "gpus", "nodes", "crop_scale"))
        values = {"crop_scale": ([1, 0.5], [0, 1], [0.5, 0.4], [0, 0])}.get(name, (1, 64, 5000, 10**5, 10**9))
        target = section["augmentation"] if name == "crop_scale" and "augmentation" in section else section
        if name in target:
            target[name] = random.choice(values)
    except (KeyError, TypeError):
        return


def prompts(random: Random, config: dict[str, Any]) -> None:
    name = random.choice(("satellite", "digits", "plain", "mine", 0))
    value = random.choice(
        ("a {}", ["a {}"], ["a"], [], {}, {"templates": "a {}"}, {"classes": {0: ["nought"]}}, {"names": {"0": False}})
    )
    config["prompts"] = {name: copy.deepcopy(value)}


CHANGES: Mapping[str, Change] = {
    "a number": number,
    "another type": another_type,
    "a text": text,
    "a list or mapping": list_or_mapping,
    "a key": key,
    "a path": path,
    "alphas": alphas,
    "a data set's option": option,
    "a student": student,
    "a task": task,
    "a training": training,
    "prompts": prompts,
}


# --- what would stop a run --------------------------------------------------------------------------------------------


class CannotRunError(Exception):
    """A configuration that no run could follow, and why."""


def must(condition: object, why: str) -> None:
    if not condition:
        raise CannotRunError(why)


def run_in_small(config: Mapping[str, Any]) -> None:
    """Derive everything that rules and scripts need from a configuration without data; raises what stops them."""
    json.dumps(config, allow_nan=False)
    _names(config)
    _folders(config)
    for name in {*scored.evaluated(config), *(task["dataset"] for task in patched.all_tasks(config))}:
        _dataset(config, name)
    _splits(config)
    _trainings(config)
    for name in config["align"]["students"]:
        built(json.dumps(networks.student_facts(config, name), sort_keys=True))
    for name, checkpoint in networks.other_encoders(config).items():
        load_encoder_facts(name, checkpoint)
    np.random.RandomState(config["seed"])
    torch.manual_seed(config["seed"])
    bootstrap = config["evaluate"]["bootstrap"]
    must(0 < bootstrap["level"] < 1 and bootstrap["resamples"] <= 10**7, "bootstrap")


def _names(config: Mapping[str, Any]) -> None:
    lines = patched.lines(config)
    alphas = config["paint"]["alphas"]
    for line in lines.values():
        named = [patched.model_at(line, alpha) for alpha in alphas]
        must(len(set(named)) == len(named), f"two alphas are one model: {named}")
        for name in named:
            must(re.fullmatch(r"[A-Za-z0-9_-]+@[0-9.]+", name), f"no wildcard matches {name}")
    clips, students = networks.clips(config), networks.students(config)
    named = [config["run"], *clips, *students, *scored.evaluated(config)]
    named += [name for sets in scored.evaluated(config).values() for name in sets]
    for name in named:
        must(re.fullmatch(r"[A-Za-z0-9_.-]+", name) and len(name) < 200, f"no path can be named {name!r}")
    must(not {*clips} & {*students}, "a student is named like a CLIP")
    for name in config["tables"]["datasets"] or ():
        must(name in scored.evaluated(config), f"tables show {name}")


def _folders(config: Mapping[str, Any]) -> None:
    run, data = config["run"], config["data_root"]
    folders = [f"{data}/archives", config["store_root"] or f"{data}/zarr"]
    folders += [f"{config['results_root']}/{run}", f"{config['log_root']}/{run}", "workflow"]
    for folder in folders:
        must(not set(folder) & set("{}\n\0") and not folder.startswith(("~", "$", " ")), f"{folder!r} is not meant")
        must(folder == folder.strip(), f"{folder!r} is not meant")
        parents = [parent for parent in Path(folder).parents if parent.exists()]
        must(parents[0].is_dir() and not Path(folder).is_file(), f"{folder} would be in a file")
    real = [Path(os.path.realpath(folder)) for folder in folders]
    for first in range(len(real)):
        for second in range(len(real)):
            inside = first != second and (real[first] == real[second] or real[first] in real[second].parents)
            must(not inside, f"{folders[second]} is in {folders[first]}")


def _dataset(config: Mapping[str, Any], name: str) -> None:
    facts = load_dataset(name, config["datasets"].get(name))
    reader = import_module(f"bandbridge.ingest.readers.{facts.reader}")
    options = parse_options(OPTIONS[facts.reader], facts)
    must(isinstance(facts.convert_jobs, int) and 0 < facts.convert_jobs < 10**5, "convert_jobs")
    # Others are patterns or columns, which may be called so.
    for option_name in ("archive", "table", "devkit", "metadata", "lists"):
        value = facts.options.get(option_name)
        must(not (isinstance(value, str) and re.search(r"[\n\0{}]|^[~$]", value)), f"{option_name} is {value!r}")
    if facts.reader == "digits":
        planned = {sample.split for sample in reader.plan(facts, Path())}
        must(planned == set(facts.splits), f"digits have samples in {planned}")
    if facts.reader == "scene":
        must({"t", "v", "e"} <= set("".join(options.blocks)), "a split has no block")
    must(facts.primary.is_rgb or facts.primary.composite, "CLIP sees nothing")
    sets = [*scored.evaluated(config).get(name, ())]
    for nomenclature in scored.scored_nomenclatures(config, name):
        must(nomenclature in facts.nomenclatures, f"{name} has no {nomenclature}")
        for prompts in sets:
            sentences = prompt_set(scored.prompts(config, prompts)).sentences(load_nomenclature(nomenclature))
            must(all(isinstance(text, str) for texts in sentences for text in texts), "a prompt is no text")
    for words in scored.open_words(config).get(name, {}).values():
        must(all(isinstance(word, str) and word for word in words), "a word is no text")


def _splits(config: Mapping[str, Any]) -> None:
    for role, needed in (("patching", {"train", "val"}), ("supported", {"val"})):
        for task in patched.tasks(config, role):
            splits = set(load_dataset(task["dataset"], config["datasets"].get(task["dataset"])).splits)
            must(needed <= splits, f"{task['dataset']} lacks {needed - splits}")


def _trainings(config: Mapping[str, Any]) -> None:
    draws = Draws.of(0, 0, [0, 1])
    finetune = FinetuneRecipe.from_config(config["finetune"])
    rgb_view(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), 16, finetune.augmentation, draws)
    recipes: list[Any] = [finetune]
    for name in config["align"]["students"]:
        recipe = AlignRecipe.from_config(networks.align_recipe(config, name))
        recipes.append(recipe)
        draw_crops(draws, 16, 16, recipe.crop_scale, recipe.flip)
        must(0 < recipe.crop_scale[0] <= recipe.crop_scale[1] <= 1, "crop_scale")
    must(0 < finetune.augmentation.crop_scale[0] <= finetune.augmentation.crop_scale[1], "crop_scale")
    if networks.uses_scratch(config):
        scratch = {
            key: value for key, value in config["clip"]["scratch"].items() if key not in ("dataset", "prompts", "text")
        }
        recipes.append(ScratchRecipe.from_config(scratch))
        must(scored.templates(config, config["clip"]["scratch"]["prompts"]), "captions have no templates")
        if config["clip"]["scratch"]["dataset"] == "digits":
            must(recipes[-1].batch_size <= 1797, "more samples in a batch than there are digits")
            must(recipes[-1].warmup_steps < recipes[-1].epochs * 1797, "a warm-up longer than the training")
    for recipe in recipes:
        weight = torch.nn.Parameter(torch.ones(1))
        weight.grad = torch.ones(1)
        optimiser = torch.optim.AdamW([weight], lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        torch.nn.utils.clip_grad_norm_([weight], recipe.clip_norm)
        optimiser.step()
        must(torch.isfinite(weight).all(), "a step is not finite")
        whole = (recipe.epochs, recipe.batch_size, recipe.warmup_steps, recipe.accumulate)
        must(all(type(value) is int for value in whole) and max(whole) < 10**9, f"counts {whole}")
        must(recipe.batch_size >= config["train"]["gpus"] * config["train"]["nodes"], "fewer samples than processes")
        warmup_cosine(0, recipe.warmup_steps, recipe.epochs)
        stored = resources.Stored({"train": 1000, "val": 100}, 1000, 10)
        resources.training([stored], resources.UNKNOWN, {"epochs": recipe.epochs, "batch_size": recipe.batch_size})


@cache
def built(facts: str) -> None:
    """A student, made without weights and shown an image."""
    # Before a size like this asks for memory.
    must(max(map(int, re.findall(r"\d+", facts)), default=0) < 10**5, "sizes beyond any memory")
    spec = StudentSpec.from_config(json.loads(facts))
    must(all(isinstance(band, str) for band in spec.bands), "a band is no text")
    must(len(set(spec.bands)) == len(spec.bands), "a band twice")
    must(not ({"VV", "VH"} & set(spec.bands) and spec.scaling == "reflectance"), "decibels as reflectances")
    must(not (spec.widen_rgb and spec.pretrained is None), "nothing to widen")
    with torch.device("meta"), torch.no_grad():
        student = Student(spec, embed_dim=8).eval()
        student(torch.empty(1, len(spec.bands), spec.image_size, spec.image_size))


FaultOf = Callable[[Mapping[str, Any]], str | None]


def students_can_be_built(config: Mapping[str, Any], fault_of: FaultOf | None) -> bool:
    """Whether a run's check of its models accepts all students; True if there is no such check."""
    if fault_of is None:
        return True
    return not any(
        _fault(fault_of, json.dumps(networks.student_facts(config, name), sort_keys=True))
        for name in config["align"]["students"]
    )


@cache
def _fault(fault_of: FaultOf, facts: str) -> str | None:
    return fault_of(json.loads(facts))
