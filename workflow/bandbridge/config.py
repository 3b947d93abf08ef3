"""The configuration: checked against its schema and against itself before any job starts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from bandbridge.catalogue import (
    COMMON_OPTIONS,
    dataset_names,
    label_map,
    load_dataset,
    load_nomenclature,
    nomenclature_names,
    prompt_set,
    prompt_set_names,
    read_yaml,
)
from bandbridge.clip_support import unsupported_clips, unsupported_encoder
from bandbridge.config_words import word_faults
from bandbridge.encoder_facts import encoder_names, load_encoder_facts
from bandbridge.errors import UserError, did_you_mean
from bandbridge.locations import WORKFLOW
from bandbridge.resources import clip_architecture, clip_architectures
from bandbridge.sensors import SENSORS, order_bands, sensor_of
from bandbridge.settings import (
    align_recipe,
    align_task,
    clips,
    evaluated,
    locked_tower,
    other_encoders,
    prompts,
    tasks,
    uses_scratch,
)
from bandbridge.text_towers import architecture_faults, load_text_tower, text_tower_names

# In these mappings a preset removes an entry of config.yaml by setting it to null.
REMOVABLE = (
    ("align", "students"),
    ("evaluate", "datasets"),
    ("evaluate", "words", "datasets"),
    ("datasets",),
    ("prompts",),
)

EXAMPLE = "the repository's config.yaml shows it"

TYPE_NAMES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def validate(config: Mapping[str, Any], source: str = "config.yaml") -> dict[str, Any]:
    """The configuration without its removed entries, once every value in it has been checked.

    Raises:
        UserError: with a line for every fault: the key, what was found, what is allowed.
    """
    cleaned = _without_removed(config)
    faults = list(schema_faults(cleaned, "config")) or list(_cross_faults(cleaned))
    if faults:
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))
    return cleaned


def _without_removed(config: Mapping[str, Any]) -> dict[str, Any]:
    def copy(value: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, Mapping):
            return value
        items = ((key, copy(item, (*path, str(key)))) for key, item in value.items())
        return {key: item for key, item in items if not (item is None and path in REMOVABLE)}

    result: dict[str, Any] = copy(config, ())
    return result


# --- the schema -------------------------------------------------------------------------------------------------------


@cache
def _validator(name: str) -> Draft202012Validator:
    text = (WORKFLOW / "schemas" / f"{name}.schema.yaml").read_text(encoding="utf-8")
    return Draft202012Validator(yaml.safe_load(text))


def schema_faults(content: Mapping[str, Any], schema: str) -> Iterator[str]:
    """A sentence for every place where `content` breaks `workflow/schemas/<schema>.schema.yaml`."""
    for error in sorted(_validator(schema).iter_errors(content), key=lambda error: [str(part) for part in error.path]):
        # `anyOf: [null, mapping]` fails as a whole; the fault the user made is inside the mapping.
        inner = [item for item in error.context or () if item.validator != "type"]
        for fault in inner if error.validator == "anyOf" and inner else [error]:
            yield _explain(fault)


def _explain(error: ValidationError) -> str:
    key = _dotted(error.absolute_path)
    found: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            allowed = list(schema.get("properties", {}))
            unknown = [name for name in found if name not in allowed]
            guess = did_you_mean(unknown[0], allowed)
            return f"{_under(key, unknown[0])} is not a known key; allowed: {', '.join(allowed)}.{guess}"
        case "required":
            missing = [name for name in wanted if name not in found]
            return f"{', '.join(_under(key, name) for name in missing)} is missing; {EXAMPLE}."
        case "enum":
            return f"{key} is {_shown(found)}; allowed: {', '.join(map(str, wanted))}.{did_you_mean(found, wanted)}"
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            hint = ""
            if isinstance(found, str) and re.fullmatch(r"[-+.\de]*\d[-+.\de]*", found):
                hint = " On the command line, numbers inside braces arrive as text: use --configfile."
            return f"{key} is {_shown(found)}; expected {' or '.join(TYPE_NAMES[name] for name in names)}.{hint}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            relation = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
            return f"{key} is {found}; expected {relation.get(str(error.validator), 'less than')} {wanted}."
        case "pattern" if wanted.endswith("\\}[^{}]*$"):
            return f"{key} is {_shown(found)}; a template has exactly one {{}}, which takes the class name."
        case "pattern":
            return f"{key} is {_shown(found)}; allowed are letters, digits, '_', '-' (pattern {wanted})."
        case "anyOf":
            return f"{key} is {_shown(found)}; expected a mapping or null."
        case _:
            return f"{key}: {error.message}."


def _dotted(path: Any) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "the file"


def _under(key: str, name: str) -> str:
    return name if key == "the file" else f"{key}.{name}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return f"'{value}'" if isinstance(value, str) else "null" if value is None else str(value)


# --- what a schema cannot say -----------------------------------------------------------------------------------------


def _cross_faults(config: Mapping[str, Any]) -> Iterator[str]:
    yield from _dataset_faults(config)
    yield from _prompt_faults(config)
    yield from _task_faults(config)
    yield from _nomenclature_faults(config)
    yield from _paint_faults(config)
    yield from _student_faults(config)
    yield from _recipe_faults(config)
    yield from _encoder_faults(config)
    yield from _probe_faults(config)
    yield from word_faults(config)


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


def _dataset_faults(config: Mapping[str, Any]) -> Iterator[str]:
    known = dataset_names()
    for key, name in _named_datasets(config):
        if name not in known:
            yield (
                f"{key} names the data set '{name}'; there are (workflow/datasets/): {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    for name in sorted({name for _, name in _named_datasets(config)} & set(known)):
        facts = read_yaml("datasets", name)
        faults = [f"workflow/datasets/{name}.yaml: {fault}" for fault in schema_faults(facts, "dataset")]
        yield from faults
        if not faults:
            yield from (f"workflow/datasets/{name}.yaml: {fault}" for fault in _fact_faults(facts))
        options = {**dict.fromkeys(COMMON_OPTIONS), **facts.get("options", {})}
        for option in config["datasets"].get(name, {}):
            if option not in options:
                yield (
                    f"datasets.{name}.{option} is not an option of this data set; its options: "
                    f"{', '.join(options) or 'none'}.{did_you_mean(option, options)}"
                )


def _fact_faults(facts: Mapping[str, Any]) -> Iterator[str]:
    """What the schema of a data set's file cannot say."""
    names, allowed = facts["labels"]["nomenclatures"], nomenclature_names()
    for name in names:
        if name not in allowed:
            yield (
                f"labels.nomenclatures names '{name}'; there are (workflow/nomenclatures/): {', '.join(allowed)}."
                f"{did_you_mean(name, allowed)}"
            )
            return
    try:
        for name in names[1:]:
            label_map(load_nomenclature(names[0]), load_nomenclature(name))
        for modality in load_dataset(facts["name"]).modalities:
            sensor_of(modality)
            wanted = (*modality.zero_bands, *(modality.composite.bands if modality.composite else ()))
            order_bands(modality.bands, wanted, may_lack=())
    except UserError as error:
        yield str(error)


def _prompt_faults(config: Mapping[str, Any]) -> Iterator[str]:
    known = sorted({*prompt_set_names(), *config["prompts"]})
    named = [(f"{key}.prompts", task["prompts"]) for key, task in _tasks(config)]
    named += [(f"evaluate.datasets.{name}", p) for name, sets in config["evaluate"]["datasets"].items() for p in sets]
    if uses_scratch(config) and "scratch" in config["clip"]:
        named.append(("clip.scratch.prompts", config["clip"]["scratch"]["prompts"]))
    for key, name in named:
        if name not in known:
            yield (
                f"{key} names the prompt set '{name}'; there are (workflow/prompts/ and `prompts`): "
                f"{', '.join(known)}.{did_you_mean(name, known)}"
            )
    for dataset, sets in evaluated(config).items():
        if dataset in dataset_names():
            yield from _prompted_class_faults(config, dataset, [name for name in sets if name in known])


def _prompted_class_faults(config: Mapping[str, Any], dataset: str, sets: Sequence[str]) -> Iterator[str]:
    """Classes with names or sentences of their own that the data set has not."""
    known = set(nomenclature_names()) & set(load_dataset(dataset).nomenclatures)
    classes = {name for nomenclature in known for name in load_nomenclature(nomenclature).classes}
    for name in sets:
        own = prompt_set(prompts(config, name))
        for unknown in sorted({*own.names, *own.classes} - classes):
            yield (
                f"the prompt set '{name}' has words of its own for '{unknown}', which is no class of {dataset}."
                f"{did_you_mean(unknown, sorted(classes))}"
            )
        if not own.templates and classes - set(own.classes):
            yield (
                f"the prompt set '{name}' has no templates, and some classes of {dataset} no sentences; add templates."
            )


def _task_faults(config: Mapping[str, Any]) -> Iterator[str]:
    patching = [task["dataset"] for task in tasks(config, "patching")]
    for task in tasks(config, "supported"):
        if task["dataset"] in patching:
            yield (
                f"tasks.supported.dataset is '{task['dataset']}', which is also a patching task; "
                "a supported task is one that patching must leave alone: name another data set, or null."
            )
    for name in sorted({name for name in patching if patching.count(name) > 1}):
        yield f"tasks.patching lists the data set '{name}' twice; list each once."
    for key, task in _tasks(config):
        if "nomenclature" in task and task["dataset"] in dataset_names():
            allowed = load_dataset(task["dataset"]).nomenclatures
            if task["nomenclature"] not in allowed:
                yield (
                    f"{key}.nomenclature is '{task['nomenclature']}'; {task['dataset']} has: "
                    f"{', '.join(allowed)}.{did_you_mean(task['nomenclature'], allowed)}"
                )
    yield from _clip_faults(config)
    yield from _tower_faults(config)
    if uses_scratch(config):
        if "scratch" not in config["clip"]:
            yield f"clip.scratch is missing, and clip.pretrained is 'scratch'; {EXAMPLE}."
        elif config["clip"]["scratch"]["dataset"] in dataset_names():
            dataset = load_dataset(config["clip"]["scratch"]["dataset"])
            if dataset.label_kind != "single":
                yield f"clip.scratch.dataset is '{dataset.name}', a multi-label data set; captions need one class."


def _clip_faults(config: Mapping[str, Any]) -> Iterator[str]:
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    several = 1 if isinstance(names, str) else len(names)
    if not isinstance(pretrained, str) and len(pretrained) != several:
        yield f"clip.pretrained lists {len(pretrained)} weights for {several} names in clip.name; list one for each."
    elif len(clips(config)) != several:
        yield f"clip.name: {', '.join(names)} come to the same name in paths; give each another one."
    if uses_scratch(config) and several > 1:
        yield "clip.pretrained is 'scratch', which trains one CLIP; clip.name lists several."
    known = clip_architectures()
    own = [name for name, path in known.items() if path.parent.name == "clip_configs"]
    for name, source in clips(config).values():
        # A model directory, of a disk or a hub, says itself what it is; and without open_clip not all are known here.
        named = not (source.startswith("hf-hub:") or Path(source).is_dir()) and len(known) > len(own)
        if named and name.replace("/", "-") not in known:
            yield (
                f"clip.name is '{name}'; workflow/clip_configs has {', '.join(own)}, and open_clip "
                f"{len(known) - len(own)} more.{did_you_mean(name, known)}"
            )
    yield from unsupported_clips(config)


def _tower_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A locked text tower that is none, or that is not the one of the architecture to train."""
    if not uses_scratch(config):
        return
    named, known = locked_tower(config), text_tower_names()
    if named is not None and named not in known:
        yield (
            f"clip.scratch.text is '{named}'; there are (workflow/text_towers/): {', '.join(known)}, or null."
            f"{did_you_mean(named, known)}"
        )
        return
    for name, _ in clips(config).values():
        architecture = clip_architecture(name)
        if architecture is None:
            continue
        own = _tower_of(name)
        if named is None and own:
            wanted = f"set clip.scratch.text to '{own}'" if own in known else "take another architecture"
            yield f"clip.name is '{name}', whose text tower {own} cannot be trained from scratch; {wanted}."
        elif named is not None and own != named:
            having = [other for other in clip_architectures() if _tower_of(other) == named]
            yield (
                f"clip.scratch.text is '{named}', but clip.name is '{name}', whose text side is {own or 'its own'}; "
                f"architectures with this tower: {', '.join(having) or 'none'}."
            )
        elif named is not None:
            yield from _tower_file_faults(named, name, architecture)


def _tower_of(name: str) -> str | None:
    architecture = clip_architecture(name)
    return None if architecture is None else architecture["text_cfg"].get("hf_model_name")


def _tower_file_faults(tower: str, name: str, architecture: Mapping[str, Any]) -> Iterator[str]:
    faults = list(schema_faults(read_yaml("text_towers", tower), "text_tower"))
    yield from (f"workflow/text_towers/{tower}.yaml: {fault}" for fault in faults)
    if not faults:
        for fault in architecture_faults(load_text_tower(tower), architecture):
            yield f"workflow/clip_configs/{name}.json: {fault}, for the text tower {tower}."


def _nomenclature_faults(config: Mapping[str, Any]) -> Iterator[str]:
    for dataset, names in config["evaluate"]["nomenclatures"].items():
        if dataset not in evaluated(config):
            known = list(evaluated(config))
            yield (
                f"evaluate.nomenclatures names '{dataset}', which is not evaluated; evaluated are: "
                f"{', '.join(known)}.{did_you_mean(dataset, known)}"
            )
        elif dataset in dataset_names():
            allowed = load_dataset(dataset).nomenclatures
            for name in names:
                if name not in allowed:
                    yield (
                        f"evaluate.nomenclatures.{dataset} names '{name}'; the data set has: {', '.join(allowed)}."
                        f"{did_you_mean(name, allowed)}"
                    )


def _paint_faults(config: Mapping[str, Any]) -> Iterator[str]:
    alphas, select = config["paint"]["alphas"], config["paint"]["select"]
    for end, meaning in ((0, "the zero-shot model"), (1, "the fine-tuned model")):
        if end not in alphas:
            yield f"paint.alphas lacks {end}, {meaning}; both ends of the line are needed."
    if select["criterion"] == "fixed" and select["alpha"] not in alphas:
        yield f"paint.select.alpha is {select['alpha']}, which is not in paint.alphas ({', '.join(map(str, alphas))})."
    if select["criterion"] != "fixed" and not tasks(config, "supported"):
        yield (
            f"paint.select.criterion is '{select['criterion']}', which weighs the patching task against a supported "
            "task, and tasks.supported is null; use 'fixed'."
        )


def _student_faults(config: Mapping[str, Any]) -> Iterator[str]:
    patching = align_task(config)["dataset"]
    if patching not in dataset_names():
        return
    if list(schema_faults(read_yaml("datasets", patching), "dataset")):
        return
    modalities = {item.name: item for item in load_dataset(patching, config["datasets"].get(patching)).modalities}
    if config["align"]["students"] and next(iter(modalities.values())).is_rgb:
        yield (
            f"align.students: the data set {patching} has RGB pictures only; a student is aligned on bands: name a "
            "multispectral one in align.task, or switch the alignment off with students: {}."
        )
        return
    known = {band.name for sensor in SENSORS.values() for band in sensor.bands}
    for name, student in config["align"]["students"].items():
        modality = student.get("modality") or next(iter(modalities))
        if modality not in modalities:
            yield (
                f"align.students.{name}.modality is '{modality}'; {patching} is converted to: {', '.join(modalities)} "
                f"(datasets.{patching}.modalities).{did_you_mean(modality, modalities)}"
            )
            continue
        there = modalities[modality].bands
        # Bands of known sensors may be filled where the data lack them, as B10 is for Level-2A products.
        fillable = set() if student.get("fill") == "error" else known
        missing = [band for band in student["bands"] if band not in {*there, *fillable}]
        if missing or not set(student["bands"]) & set(there):
            lacking = missing or student["bands"]
            yield (
                f"align.students.{name}.bands has {', '.join(lacking)}, which {patching} has not; "
                f"it has: {', '.join(there)}.{did_you_mean(lacking[0], there)}"
            )


def _recipe_faults(config: Mapping[str, Any]) -> Iterator[str]:
    for name in config["align"]["students"]:
        recipe = align_recipe(config, name)
        where = f"align.students.{name}.recipe" if config["align"]["students"][name].get("recipe") else "align"
        if not recipe["distillation_weight"] and not recipe["label_weight"]:
            yield f"{where}: distillation_weight and label_weight are both 0; nothing would be learnt."
        if recipe["cache_teacher"] and (list(recipe["crop_scale"]) != [1, 1] or recipe["flip"]):
            yield (
                f"{where}.cache_teacher is true, but pictures change from epoch to epoch, and with them what the "
                "teacher sees: set crop_scale to [1, 1] and flip to 0, or cache_teacher to false."
            )


def _encoder_faults(config: Mapping[str, Any]) -> Iterator[str]:
    known = encoder_names()
    for name in other_encoders(config):
        if name not in known:
            yield (
                f"evaluate.encoders names '{name}'; there are (workflow/encoders/): {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
            continue
        try:
            facts = load_encoder_facts(name)
        except UserError as error:
            yield str(error)
        else:
            yield from unsupported_encoder(facts)
        if name in {*clips(config), *config["align"]["students"]}:
            yield f"evaluate.encoders names '{name}', as is a CLIP or a student of this run; rename that one."


def _probe_faults(config: Mapping[str, Any]) -> Iterator[str]:
    probed = (config["evaluate"]["linear_probe"] or {}).get("datasets", [])
    allowed = list(evaluated(config))
    for name in probed:
        if name not in allowed:
            yield (
                f"evaluate.linear_probe.datasets names '{name}', which is not evaluated; evaluated are: "
                f"{', '.join(allowed)}.{did_you_mean(name, allowed)}"
            )
        elif name in dataset_names() and len(load_dataset(name).splits) < 3:
            yield f"evaluate.linear_probe.datasets names '{name}', which lacks one of the splits train, val and test."
