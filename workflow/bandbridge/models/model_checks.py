"""Whether the networks of a configuration can be built: tried without weights, before any job starts.

Only timm and open_clip know what they accept, and importing them takes seconds. So the check runs in a separate
process, once per description of a network, and not for plain ViTs, whose sizes `config` has checked.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.config.networks import WEIGHTS_SUFFIXES, clips, student_facts

# timm has had these since its first versions; these options change only their sizes.
PLAIN = {f"vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large")}
PLAIN_OPTIONS = {"img_size", "patch_size", "embed_dim", "depth", "num_heads"}
# OpenAI's weights, by open_clip's names of their architectures.
OPENAI = {"RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336"}
LIBRARIES = ("torch", "timm", "open_clip_torch")
LONGEST = 300  # seconds


def model_faults(config: Mapping[str, Any], memory: Path) -> list[str]:
    """A sentence per student that timm cannot make, and per tag of weights that open_clip does not have.

    Empty if the libraries are not installed, as on a login node.

    Args:
        config: valid by `config.validate`.
        memory: a folder with an empty file per description that was found valid.
    """
    new = [question for question in _questions(config) if not (memory / _key(question)).exists()]
    if not new or any(importlib.util.find_spec(name) is None for name in ("torch", "timm", "open_clip")):
        return []
    answers = _answers(new)
    for question, faults in zip(new, answers, strict=False):
        if not faults:
            memory.mkdir(parents=True, exist_ok=True)
            (memory / _key(question)).touch()
    return [fault for faults in answers for fault in faults]


def _questions(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    questions = [
        {"key": f"align.students.{name}", "student": student_facts(config, name)}
        for name, student in config["align"]["students"].items()
        if student["backbone"] not in PLAIN or not set(student["options"]) <= PLAIN_OPTIONS
    ]
    return questions + [
        {"key": "clip.pretrained", "clip": name, "tag": source}
        for name, source in clips(config).values()
        if source != "scratch" and not _is_listed(name, source)
    ]


def _is_listed(name: str, source: str) -> bool:
    """Whether no check is needed: OpenAI's weights (listed above), or a model of a hub or on disk."""
    if source == "openai" and name.replace("/", "-").removesuffix("-quickgelu") in OPENAI:
        return True
    path, hub = Path(source), "hf-hub:"
    is_file = "/" in source or path.suffix in WEIGHTS_SUFFIXES or path.exists()
    return is_file or source.startswith(hub) or name.startswith(hub)


def _key(question: Mapping[str, Any]) -> str:
    versions = [importlib.metadata.version(name) for name in LIBRARIES]
    return hashlib.sha256(json.dumps([question, versions], sort_keys=True).encode()).hexdigest()


def _answers(questions: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The faults per question; empty if the process fails, which is no statement about the networks."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=True,
        )
        answers: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return []
    return answers


# --- in the separate process ------------------------------------------------------------------------------------------


def student_fault(facts: Mapping[str, Any]) -> str | None:
    """Why a student cannot be built, or cannot take images of its size; None if it can.

    Tried on torch's meta device, whose tensors have shapes and no values, so that size does not matter.
    """
    import torch

    from bandbridge.models.students import Student, StudentSpec

    spec = StudentSpec.from_config(facts)
    try:
        with torch.device("meta"), torch.no_grad():
            student = Student(spec, embed_dim=8).eval()
            student(torch.empty(1, len(spec.bands), spec.image_size, spec.image_size))
    except UserError as error:
        import timm

        names = timm.list_models()
        return f"{error}.{'' if spec.backbone in names else did_you_mean(spec.backbone, names)}"
    except (NotImplementedError, MemoryError):
        return None  # cannot be tried on the meta device
    except Exception as error:  # any of timm's thousand networks may raise anything
        sentence = " ".join(str(error).split())[:200]
        return f"the backbone '{spec.backbone}' cannot take images of {spec.image_size} pixels: {sentence}"
    return None


def tag_fault(name: str, tag: str) -> str | None:
    """A sentence if open_clip has no such weights of an architecture; None if it has."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name.replace("/", "-"))
    if tag.lower().replace("-", "_") in {name.lower().replace("-", "_") for name in tags}:
        return None
    return f"'{tag}' is neither a file nor weights of {name}; open_clip has: {', '.join(tags) or 'none'}." + (
        did_you_mean(tag, tags)
    )


def answer(questions: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The faults per question, with the key of the configuration."""
    result = []
    for question in questions:
        fault = (
            student_fault(question["student"])
            if "student" in question
            else tag_fault(question["clip"], question["tag"])
        )
        result.append([f"{question['key']}: {fault}"] if fault else [])
    return result


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
