"""State dicts: selecting a model's tensors from a checkpoint, comparing them with the model, describing the rest."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bandbridge.base.errors import UserError
from bandbridge.models.checkpoint_files import Content
from bandbridge.models.state_dict_families import family_of
from bandbridge.models.weights import Weights, is_finite, list_some

# Parts of names that wrappers of modules add: torch.compile, FSDP, activation checkpointing, data parallelism.
WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module", "module"})
# If several sets of weights fit equally well, words in their names decide, in this order: a running average is what its
# authors evaluate (timm, DINO); of MoCo's two encoders, the copy comes last.
AVERAGE = re.compile(r"(^|_)(ema|swa|averaged?|teacher)(_|$)")
STUDENT = re.compile(r"(^|_)student(_|$)")
COPY = re.compile(r"momentum|(^|_)k$")
# Counters that such programs store beside the weights, as tensors (torch.optim.swa_utils and similar).
COUNTERS = frozenset({"n_averaged", "num_updates", "decay", "initted", "step", "epoch", "global_step"})
DEEPEST = 6


@dataclass(frozen=True)
class Chosen:
    """A model's tensors from a checkpoint.

    Attributes:
        tensors: by the model's names if they match, with other tensors on the same level.
        prefix: of their names in the checkpoint, containers included: 'state_dict.model.'.
        others: prefixes under which other tensors match as well.
        unused: names of the checkpoint's other tensors.
    """

    tensors: Weights
    prefix: str = ""
    others: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """Which of several sets of weights was used, as a clause; '' if there is only one."""
        if not self.others:
            return ""
        average = ", a running average" if _rank(self.prefix) == 0 else ""
        return f"weights {_place(self.prefix)} used{average}; not those {' and '.join(map(_place, self.others))}"


@dataclass(frozen=True)
class Differences:
    """How a set of tensors differs from a model's.

    Attributes:
        missing: names that only the model has.
        unknown: names that only the set has.
        shapes: 'name is (a, b), expected (c, d)'.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    shapes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.shapes)

    def __str__(self) -> str:
        kinds = ((self.shapes, "of another shape"), (self.missing, "missing"), (self.unknown, "unknown"))
        return "; ".join(f"{len(names)} {kind} ({list_some(names, 4)})" for names, kind in kinds if names)


def differences(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    may_lack: tuple[str, ...] = (),
    may_have: tuple[str, ...] = (),
) -> Differences:
    """Compare a state dict with a model's, by names and shapes.

    Args:
        state: the tensors to check.
        expected: the model's tensors.
        may_lack: prefixes of names that may be missing.
        may_have: prefixes of names that may be present besides.
    """
    return Differences(
        missing=tuple(name for name in expected if name not in state and not name.startswith(may_lack)),
        unknown=tuple(name for name in state if name not in expected and not name.startswith(may_have)),
        shapes=tuple(
            f"{name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ),
    )


def must_fit(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    path: Path,
    model: str,
    advice: str = "",
    may_lack: tuple[str, ...] = (),
    may_have: tuple[str, ...] = (),
) -> None:
    """Raise a `UserError` unless a state dict fits a model; it states the differences and what the file seems to be.

    Args:
        state: the tensors to check.
        expected: the model's tensors.
        path: of the checkpoint.
        model: its name, to follow 'does not fit' and 'contains nothing of'.
        advice: what to do, in a sentence, or ''.
        may_lack: see `differences`.
        may_have: see `differences`.
    """
    faults = differences(state, expected, may_lack, may_have)
    if faults:
        fits_partly = bool(state.keys() & expected.keys())
        differs = f"does not fit {model}: {faults}." if fits_partly else f"contains nothing of {model}."
        parts = (f"{path} {differs}", described(state), advice)
        raise UserError(" ".join(part for part in parts if part))


def must_hold_numbers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Raise a `UserError` for tensors that a model cannot compute with, though their names and shapes are right.

    That is NaN or infinity, zeros in every tensor, whole numbers or 8-bit floats in place of floats (quantised
    weights), complex or sparse tensors, tensors without values. float64, float16 and bfloat16 are fine.

    Args:
        state: the model's tensors by name; others are ignored.
        expected: the model's tensors. Those on the meta device are not compared.
        path: of the checkpoint.
    """
    names = {name for name, tensor in expected.items() if tensor.is_floating_point() and not tensor.is_meta}
    floats = {name: tensor for name, tensor in state.items() if name in names}
    odd = {name: kind for name, tensor in floats.items() if (kind := _unusable(tensor))}
    if odd:
        kinds = " and ".join(dict.fromkeys(odd.values()))
        raise UserError(
            f"{path}: {kinds} in {len(odd)} of {len(floats)} tensors that are floats in the model "
            f"({list_some(list(odd), 3)}). Save the weights as float32, float16 or bfloat16, before they are quantised."
        )
    broken = {name: int((~tensor.isfinite()).sum()) for name, tensor in floats.items() if not is_finite(tensor)}
    if broken:
        counts = [f"{name}: {count:,} of {floats[name].numel():,} values" for name, count in broken.items()]
        raise UserError(
            f"{path}: NaN or infinity in {len(broken)} of {len(floats)} tensors ({list_some(counts, 3)}). The training "
            "that wrote it diverged, or half precision overflowed; use an earlier checkpoint, or one in float32."
        )
    if floats and not any(tensor.any() for tensor in floats.values()):
        raise UserError(
            f"{path}: all values of its {len(floats)} tensors are zero. It was written before weights were loaded, or "
            "damaged; save or fetch it again."
        )


def _unusable(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "no values (device meta)"
    if tensor.layout is not torch.strided:
        return f"values of a sparse layout ({tensor.layout})"
    if tensor.is_quantized or not tensor.is_floating_point() or tensor.dtype.itemsize < 2:
        return f"values of type {str(tensor.dtype).removeprefix('torch.')}"
    return ""


def described(state: Mapping[str, Tensor]) -> str:
    """A sentence or two about a state dict: the number and names of its tensors, and the model it looks like."""
    if not state:
        return "It contains no tensors."
    stems = Counter(_stem(name) for name in state)
    counts = [f"{stem} ({count})" if count > 1 else stem for stem, count in stems.most_common()]
    family = family_of(state)
    looks = f" It looks like {family}." if family else ""
    count = "1 tensor" if len(state) == 1 else f"{len(state)} tensors"
    return f"It contains {count}: {list_some(counts, 5)}.{looks}"


def stems(names: Collection[str]) -> list[str]:
    """The distinct beginnings of names: 'momentum_encoder', 'head'."""
    return list(dict.fromkeys(_stem(name) for name in names))


def _stem(name: str) -> str:
    """'visual.transformer' of 'visual.transformer.resblocks.0.ln_1.weight', 'head' of 'head.weight'."""
    parts = name.split(".")
    return ".".join(parts[: min(2, max(1, len(parts) - 2))])


def choose(content: Content, expected: Mapping[str, Tensor], path: Path, also: Collection[str] = ()) -> Chosen:
    """Select a model's tensors from a checkpoint, in any wrapper and beside any other content.

    Names match from their end: 'state_dict.module.visual.proj' is 'visual.proj' under 'state_dict.'. The prefix under
    which most names match is chosen. Of several, the one with most of the model's shapes; then a running average before
    other weights, and a training's internal copy last.

    Args:
        content: of the checkpoint.
        expected: the model's tensors.
        path: of the checkpoint, for messages.
        also: names that match as well, of weights that are converted before they are loaded.

    Raises:
        UserError: the checkpoint contains no tensors, or two sets of them match equally well and differ, so that the
            choice is ambiguous.
    """
    names = frozenset({*expected, *also})
    tensors = _flat(content, WRAPPERS - {part for name in names for part in name.split(".")})
    if not tensors:
        raise UserError(f"{path} contains no named tensors; it has {list_some(list(map(str, content))) or 'nothing'}.")
    matches: dict[str, list[str]] = {}
    for name in tensors:
        for prefix, end in _splits(name):
            if end in names:
                matches.setdefault(prefix, []).append(end)
    if not matches:
        return Chosen(_largest_level(tensors))

    def fitting(prefix: str) -> tuple[int, int]:
        pairs = [(tensors[prefix + end].value, expected[end]) for end in matches[prefix] if end in expected]
        return len(matches[prefix]), sum(value.shape == tensor.shape for value, tensor in pairs)

    most = max(map(fitting, matches))
    best = sorted((prefix for prefix in matches if fitting(prefix) == most), key=_rank)
    first, others = best[0], tuple(best[1:])
    for other in others:
        ends = set(matches[first]) | set(matches[other])
        if _rank(other) == _rank(first) and not all(_same(tensors, first + end, other + end) for end in ends):
            raise UserError(
                f"{path} contains two sets of weights that fit, {_place(first)} and {_place(other)}, and they differ. "
                "Save the one that you want in a separate file."
            )
    levels = {tensors[first + end].level for end in matches[first]}
    chosen = {
        name.removeprefix(first): entry.value
        for name, entry in tensors.items()
        if name.startswith(first) and entry.level in levels and (name.removeprefix(first) not in COUNTERS - names)
    }
    unused = tuple(name for name in tensors if name.removeprefix(first) not in chosen or not name.startswith(first))
    return Chosen(chosen, first, others, unused)


def flat(content: Content) -> Weights:
    """All tensors of a checkpoint by name, prefixed with the keys of the mappings around them."""
    return {name: entry.value for name, entry in _flat(content, ()).items()}


@dataclass(frozen=True, eq=False)
class _Entry:
    """A tensor, and the keys of the mappings that hold it."""

    value: Tensor
    level: tuple[str, ...]


def _flat(content: Content, wrappers: Collection[str]) -> dict[str, _Entry]:
    """Tensors by name, prefixed with the keys of the mappings around them, without the names of wrappers."""
    flat: dict[str, _Entry] = {}
    for level, name, value in _tensors(content, ()):
        plain = ".".join(part for part in (*level, *name.split(".")) if part not in wrappers)
        full = plain if plain and plain not in flat else ".".join((*level, name))
        flat[full] = _Entry(value, level)
    return flat


def _tensors(content: Mapping[Any, Any], level: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield level, str(key), value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
            yield level, str(key), torch.from_numpy(np.ascontiguousarray(value, value.dtype.newbyteorder("=")))
        elif isinstance(value, Mapping) and len(level) < DEEPEST:
            yield from _tensors(value, (*level, str(key)))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """('', 'a.b.c'), ('a.', 'b.c'), ('a.b.', 'c')."""
    yield "", name
    for at, letter in enumerate(name):
        if letter == ".":
            yield name[: at + 1], name[at + 1 :]


def _rank(prefix: str) -> int:
    parts = prefix.split(".")
    for rank, pattern in ((0, AVERAGE), (3, COPY), (2, STUDENT)):
        if any(pattern.search(part) for part in parts):
            return rank
    return 1


def _same(tensors: Mapping[str, _Entry], one: str, other: str) -> bool:
    if one not in tensors or other not in tensors:
        return False
    return torch.equal(tensors[one].value, tensors[other].value)


def _largest_level(tensors: Mapping[str, _Entry]) -> Weights:
    sizes = Counter(entry.level for entry in tensors.values())
    level = max(sizes, key=lambda key: sizes[key])
    return {name: entry.value for name, entry in tensors.items() if entry.level == level}


def _place(prefix: str) -> str:
    return f"under '{prefix.rstrip('.')}'" if prefix else "without a prefix"
