"""Checks of `clip`: architectures, weights, and the text tower that a CLIP is trained against."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.errors import did_you_mean
from bandbridge.base.model_faults import model_faults
from bandbridge.base.yaml_files import read_document
from bandbridge.catalogue.datasets import dataset_names, load_dataset
from bandbridge.catalogue.file_models import ClipConfig
from bandbridge.catalogue.text_towers import architecture_faults, load_text_tower, text_tower_names
from bandbridge.config.clip_support import unsupported_clips
from bandbridge.config.lines import tasks
from bandbridge.config.networks import clips, locked_tower, uses_scratch
from bandbridge.config.resources import clip_architecture, clip_architectures


def clip_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each fault of the CLIPs to start from."""
    faults = [*_name_faults(config), *_architecture_faults(config)]
    yield from faults or (*_tower_faults(config), *unsupported_clips(config))
    yield from _scratch_faults(config)
    yield from _patched_faults(config)


def _patched_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each reason why patched image encoders cannot stand in for a fine-tuning."""
    patched, alphas = config["clip"].get("patched"), config["paint"]["alphas"]
    if patched is None:
        return
    count, names = 1 if isinstance(patched, str) else len(patched), list(clips(config))
    if count != len(names):
        yield f"clip.patched lists {count} files for {len(names)} names in clip.name; list one for each."
    if uses_scratch(config):
        yield (
            "clip.patched names a patched image encoder, but clip.pretrained is 'scratch', which trains another CLIP; "
            "set clip.pretrained to the weights that it was patched from."
        )
    if not any(alphas):
        yield (
            f"clip.patched names a patched image encoder, but paint.alphas is {list(alphas)}; add the alpha that it "
            "was patched at, or 1."
        )
    several = config["paint"]["several"]
    if several != "jointly" and len(tasks(config, "patching")) > 1:
        yield (
            f"clip.patched names one patched image encoder per CLIP, but paint.several is '{several}', which makes one "
            "per task; set it to 'jointly'."
        )


def _name_faults(config: Mapping[str, Any]) -> Iterator[str]:
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    count = 1 if isinstance(names, str) else len(names)
    if not isinstance(pretrained, str) and len(pretrained) != count:
        yield f"clip.pretrained lists {len(pretrained)} weights for {count} names in clip.name; list one for each."
    elif len(clips(config)) != count:
        yield f"clip.name: {', '.join(names)} have the same name in paths; rename one."
    if "" in clips(config):
        yield "clip.name has no letter or digit, which its paths need; choose another name."
    if uses_scratch(config) and count > 1:
        yield "clip.pretrained is 'scratch', which trains one CLIP; clip.name lists several."
    architectures = clip_architectures()
    bundled = [name for name, path in architectures.items() if path.parent.name == "clip_configs"]
    for name, source in clips(config).values():
        # A model directory, local or on a hub, describes itself. Without open_clip its architectures are unknown.
        named = not (source.startswith("hf-hub:") or Path(source).is_dir()) and len(architectures) > len(bundled)
        if named and name.replace("/", "-") not in architectures:
            yield (
                f"clip.name is '{name}'; workflow/clip_configs has {', '.join(bundled)}, and open_clip "
                f"{len(architectures) - len(bundled)} more.{did_you_mean(name, architectures)}"
            )


def _architecture_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each fault of a file of workflow/clip_configs; those of open_clip are not checked."""
    for name, _ in clips(config).values():
        path = clip_architectures().get(name.replace("/", "-"))
        if path is None or path.parent.name != "clip_configs":
            continue
        content = read_document(path).content
        yield from (f"workflow/clip_configs/{path.name}: {fault}" for fault in model_faults(content, ClipConfig))
        vision = content.get("vision_cfg") if isinstance(content, dict) else None
        sizes = vision if isinstance(vision, dict) else {}
        # The heads of a ViT are 64 wide where the file does not state it.
        divided = (("image_size", "patch_size", None), ("width", "head_width", 64 if "patch_size" in sizes else None))
        for whole, part, default in divided:
            size, unit = sizes.get(whole), sizes.get(part, default)
            if isinstance(size, int) and isinstance(unit, int) and unit > 0 and size % unit:
                yield (
                    f"workflow/clip_configs/{path.name}: vision_cfg.{part} is {unit}, which does not divide "
                    f"{whole}, {size}."
                )


def _tower_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each locked text tower that does not exist, or that the architecture does not have."""
    if not uses_scratch(config):
        return
    tower, towers = locked_tower(config), text_tower_names()
    if tower is not None and tower not in towers:
        yield (
            f"clip.scratch.text is '{tower}'; there are (workflow/text_towers/): {', '.join(towers)}, or null."
            f"{did_you_mean(tower, towers)}"
        )
        return
    for name, _ in clips(config).values():
        architecture = clip_architecture(name)
        if architecture is None:
            continue
        built_in = _tower_of(name)
        if tower is None and built_in:
            advice = f"set clip.scratch.text to '{built_in}'" if built_in in towers else "take another architecture"
            yield f"clip.name is '{name}', whose text tower {built_in} cannot be trained from scratch; {advice}."
        elif tower is not None and built_in != tower:
            matching = [other for other in clip_architectures() if _tower_of(other) == tower]
            yield (
                f"clip.scratch.text is '{tower}', but clip.name is '{name}', whose text side is "
                f"{built_in or 'its own'}; architectures with this tower: {', '.join(matching) or 'none'}."
            )
        elif tower is not None:
            yield from _tower_file_faults(tower, name, architecture)


def _tower_of(name: str) -> str | None:
    architecture = clip_architecture(name)
    return None if architecture is None else architecture["text_cfg"].get("hf_model_name")


def _tower_file_faults(tower: str, name: str, architecture: Mapping[str, Any]) -> Iterator[str]:
    for fault in architecture_faults(load_text_tower(tower), architecture):
        yield f"workflow/clip_configs/{name}.json: {fault}, for the text tower {tower}."


def _scratch_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each reason why a CLIP cannot be trained from scratch as configured."""
    if not uses_scratch(config):
        return
    if "scratch" not in config["clip"]:
        yield "clip.scratch is missing, and clip.pretrained is 'scratch'; the repository's config.yaml shows it."
        return
    scratch = config["clip"]["scratch"]
    if scratch["dataset"] not in dataset_names():
        return  # reported with the other data sets
    dataset = load_dataset(scratch["dataset"])
    if dataset.label_kind != "single":
        yield f"clip.scratch.dataset is '{dataset.name}', a multi-label data set; captions need one class."
