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
from bandbridge.config.networks import clips, locked_tower, uses_scratch
from bandbridge.config.resources import clip_architecture, clip_architectures


def clip_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each fault of the CLIPs to start from."""
    faults = [*_name_faults(config), *_architecture_faults(config)]
    yield from faults or (*_tower_faults(config), *unsupported_clips(config))
    yield from _scratch_faults(config)


def _name_faults(config: Mapping[str, Any]) -> Iterator[str]:
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    several = 1 if isinstance(names, str) else len(names)
    if not isinstance(pretrained, str) and len(pretrained) != several:
        yield f"clip.pretrained lists {len(pretrained)} weights for {several} names in clip.name; list one for each."
    elif len(clips(config)) != several:
        yield f"clip.name: {', '.join(names)} come to the same name in paths; give each another one."
    if "" in clips(config):
        yield "clip.name has no letter or digit that a path could be named by; name the CLIP otherwise."
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


def _architecture_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong in a file of workflow/clip_configs; open_clip's own are taken as they are."""
    for name, _ in clips(config).values():
        path = clip_architectures().get(name.replace("/", "-"))
        if path is None or path.parent.name != "clip_configs":
            continue
        content = read_document(path).content
        yield from (f"workflow/clip_configs/{path.name}: {fault}" for fault in model_faults(content, ClipConfig))
        vision = content.get("vision_cfg") if isinstance(content, dict) else None
        sizes = vision if isinstance(vision, dict) else {}
        # Of a ViT, whose heads are 64 wide where the file does not say.
        divided = (("image_size", "patch_size", None), ("width", "head_width", 64 if "patch_size" in sizes else None))
        for whole, part, usual in divided:
            size, unit = sizes.get(whole), sizes.get(part, usual)
            if isinstance(size, int) and isinstance(unit, int) and unit > 0 and size % unit:
                yield (
                    f"workflow/clip_configs/{path.name}: vision_cfg.{part} is {unit}, which does not divide "
                    f"{whole}, {size}."
                )


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
    for fault in architecture_faults(load_text_tower(tower), architecture):
        yield f"workflow/clip_configs/{name}.json: {fault}, for the text tower {tower}."


def _scratch_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A CLIP that is to be trained on data that cannot teach it."""
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
