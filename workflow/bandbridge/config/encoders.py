"""Checks of `align.students` and `evaluate.encoders`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError, choices, did_you_mean
from bandbridge.base.paths import Paths
from bandbridge.catalogue.datasets import dataset_names
from bandbridge.catalogue.encoders import encoder_names, load_encoder_facts, must_be_pinned
from bandbridge.catalogue.sensors import SENSOR_BANDS, SENTINEL_1
from bandbridge.config.clip_support import unsupported_encoder
from bandbridge.config.data import configured
from bandbridge.config.lines import align_task, lines
from bandbridge.config.networks import clips, first_weights, other_encoders, students, unpinned_encoders
from bandbridge.config.resources import TIMM_WIDTHS

# The largest sensible value of a network's options, lower for some.
LARGEST, MOST = 100_000, {"depth": 1_000, "num_heads": 1_000}


def student_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each student that cannot be built, or that cannot learn from the data."""
    for name, student in config["align"]["students"].items():
        for fault in _option_faults(student["options"]) or (*_vit_faults(student), *input_faults(student)):
            yield f"align.students.{name}.{fault}"
    if len(students(config)) < len(clips(config)) * len(config["align"]["students"]):
        yield "align.students: with a CLIP's name added, two students have the same name; rename one."
    for name in {*config["align"]["students"], *students(config)} & {*clips(config), *lines(config)}:
        yield f"align.students has '{name}', which is also a CLIP or a line of this run; rename the student."
    yield from _band_faults(config)


def _option_faults(options: Mapping[str, Any]) -> list[str]:
    """A sentence for each size that no network has: building one would take all memory."""
    return [
        f"options.{name} is {item}; expected a number up to {MOST.get(name, LARGEST):,}."
        for name, value in options.items()
        for item in (value if isinstance(value, list) else [value])
        if isinstance(item, int | float) and not abs(item) <= MOST.get(name, LARGEST)
    ]


def input_faults(student: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each contradiction between a student's bands, their scaling and its first weights."""
    radar = [band.name for band in SENTINEL_1.bands if band.name in student["bands"]]
    if radar and student["scaling"] == "reflectance":
        yield (
            f"scaling is 'reflectance', but {', '.join(radar)} are decibels, below zero almost everywhere: all would "
            "be clipped to zero. Set it to 'standardise'."
        )
    if student.get("widen_rgb") and not student["pretrained"] and not student.get("weights"):
        yield "widen_rgb is true, but pretrained is null: there is no first layer to widen."
    if "in_chans" in student["options"] or "num_classes" in student["options"]:
        yield "options has in_chans or num_classes, which follow from the bands and the CLIP; leave them out."


def _vit_faults(student: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each size of a plain ViT that does not divide; other backbones are checked by a job with torch."""
    match = re.match(r"vit_([a-z]+)_patch(\d+)_(\d+)", student["backbone"])
    if not match or match[1] not in TIMM_WIDTHS:
        return
    width, depth = TIMM_WIDTHS[match[1]]
    numbers = {"img_size": int(match[3]), "patch_size": int(match[2]), "embed_dim": width, "depth": depth}
    for option in (*numbers, "num_heads"):
        value = student["options"].get(option, 1)
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, int) and not isinstance(item, bool) and item > 0 for item in items):
            yield f"options.{option} is {value}; expected a whole number from 1."
            return
    stated = {**numbers, **student["options"]}
    sizes = {key: stated[key] for key in ("img_size", "patch_size") if isinstance(stated[key], int)}
    if len(sizes) < 2:
        return
    if sizes["img_size"] != student["image_size"] and not stated.get("dynamic_img_size"):
        yield (
            f"image_size is {student['image_size']}, but the backbone takes {sizes['img_size']} x {sizes['img_size']} "
            f"pixels: set options.img_size to {student['image_size']}, or image_size to {sizes['img_size']}."
        )
    elif student["image_size"] % sizes["patch_size"]:
        yield (
            f"image_size is {student['image_size']}, which patches of {sizes['patch_size']} pixels do not divide "
            "(options.patch_size)."
        )
    heads = stated.get("num_heads", width // 64 if match[1] != "huge" else 16)
    if stated["embed_dim"] % heads:
        yield f"options.num_heads is {heads}, which does not divide embed_dim, {stated['embed_dim']}."


def _band_faults(config: Mapping[str, Any]) -> Iterator[str]:
    dataset = align_task(config)["dataset"]
    if dataset not in dataset_names():
        return
    modalities = {item.name: item for item in configured(config, dataset).modalities}
    if config["align"]["students"] and next(iter(modalities.values())).is_rgb:
        # A file that is laid over config.yaml takes nothing away with {}.
        none = ", ".join(f"{name}: null" for name in config["align"]["students"])
        yield (
            f"align.students: the data set {dataset} has RGB images only; a student is aligned on bands: name a "
            f"multispectral one in align.task, or switch the alignment off with students: {{{none}}}."
        )
        return
    for name, student in config["align"]["students"].items():
        modality = student.get("modality") or next(iter(modalities))
        if modality not in modalities:
            yield (
                f"align.students.{name}.modality is '{modality}'; {dataset} is converted to: {', '.join(modalities)} "
                f"(datasets.{dataset}.modalities).{did_you_mean(modality, modalities)}"
            )
            continue
        dataset_bands = modalities[modality].bands
        # Bands of described sensors may be filled where the data lack them, as B10 is for Level-2A products.
        fillable = set() if student.get("fill") == "error" else set(SENSOR_BANDS)
        missing = [band for band in student["bands"] if band not in {*dataset_bands, *fillable}]
        if missing or not set(student["bands"]) & set(dataset_bands):
            unavailable = missing or student["bands"]
            yield (
                f"align.students.{name}.bands has {', '.join(unavailable)}, which {dataset} lacks; "
                f"it has: {choices(unavailable[0], dataset_bands)}"
            )


def encoder_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each encoder that does not exist, or whose file or name is wrong."""
    listed = [entry if isinstance(entry, str) else entry["name"] for entry in config["evaluate"]["encoders"]]
    for name in sorted({name for name in listed if listed.count(name) > 1}):
        yield f"evaluate.encoders lists '{name}' twice; list each once."
    available = encoder_names()
    for name, checkpoint in other_encoders(config).items():
        if name not in available:
            yield f"evaluate.encoders names '{name}'; there are (workflow/encoders/): {choices(name, available)}"
            continue
        yield from _weight_faults(config, f"evaluate.encoders, {name}", name, checkpoint)
        if name in {*clips(config), *lines(config), *students(config), *config["align"]["students"]}:
            yield f"evaluate.encoders names '{name}', which is also a CLIP or a student of this run; rename that one."
    for student, pretrained in first_weights(config).items():
        if pretrained in available:
            yield from _weight_faults(config, f"align.students.{student}.pretrained", pretrained)


def _weight_faults(config: Mapping[str, Any], where: str, encoder: str, checkpoint: str | None = None) -> Iterator[str]:
    """What is wrong with an encoder's file, or that its weights need the user's consent."""
    try:
        facts = load_encoder_facts(encoder, checkpoint)
    except UserError as error:
        yield from str(error).splitlines()
        return
    yield from unsupported_encoder(facts)
    try:
        if encoder not in unpinned_encoders(config):
            must_be_pinned(facts, Path(Paths(config).archives("encoders")))
    except UserError as error:
        yield f"{where}: {error}"
