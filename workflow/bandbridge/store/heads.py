"""The file of a zero-shot head: unit class vectors from prompts, readable without torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError
from bandbridge.base.npz import load_npz, save_npz


@dataclass(frozen=True, eq=False)
class Head:
    """A zero-shot classifier: logits = logit_scale * normalise(image embedding) @ weights.T + logit_bias.

    Attributes:
        weights: (class, dim) float32, unit rows.
        logit_scale: exp of CLIP's parameter; 100 for OpenAI's weights.
        classes: official class names, in the order of the nomenclature.
        prompts: per class, the sentences that were averaged.
        logit_bias: of models trained with a sigmoid per pair (SigLIP, Zhai et al. 2023); 0 for all others.
    """

    weights: NDArray[np.float32]
    logit_scale: float
    classes: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    logit_bias: float = 0.0


@dataclass(frozen=True, eq=False)
class Words:
    """Words that are not class names, embedded like class names.

    Attributes:
        head: a vector and the sentences per word, under the word's name.
        stands_for: per word, the class whose images it should find.
    """

    head: Head
    stands_for: tuple[str, ...]


def save_head(path: Path, head: Head) -> None:
    """Write a head as .npz; equal heads give equal bytes.

    Raises:
        UserError: a class's vector, the scale or the bias is not finite: every score by it would be undefined.
    """
    broken = [name for name, row in zip(head.classes, head.weights, strict=True) if not np.isfinite(row).all()]
    if broken or not np.isfinite([head.logit_scale, head.logit_bias]).all():
        raise UserError(
            f"{path}: the text encoder gives no finite vector for {len(broken)} of {len(head.classes)} classes "
            f"({', '.join(broken[:3]) or 'none'}; logit_scale is {head.logit_scale:g}). The CLIP's weights are damaged "
            "or diverged; load or train it again."
        )
    arrays = {
        "weights": head.weights,
        "logit_scale": np.float64(head.logit_scale),
        "logit_bias": np.float64(head.logit_bias),
        "classes": np.array(head.classes),
        # As text, because classes may have different numbers of sentences.
        "prompts": np.array([json.dumps(sentences) for sentences in head.prompts]),
    }
    save_npz(path, arrays)


def load_head(path: Path) -> Head:
    """Read what `save_head` wrote; a `UserError` if the file is damaged."""
    arrays = load_npz(path)
    return Head(
        weights=arrays["weights"],
        logit_scale=float(arrays["logit_scale"]),
        logit_bias=float(arrays.get("logit_bias", 0.0)),
        classes=tuple(arrays["classes"].tolist()),
        prompts=tuple(tuple(json.loads(text)) for text in arrays["prompts"].tolist()),
    )


def load_words(path: Path, words: Mapping[str, Sequence[str]]) -> Words:
    """Read the head of words.

    Args:
        path: of the head.
        words: class -> the words that stand for it.

    Raises:
        UserError: the file is of other words.
    """
    head = load_head(path)
    stands_for = {word: name for name, listed in words.items() for word in listed}
    if head.classes != tuple(stands_for):
        raise UserError(
            f"{path} is of the words {', '.join(head.classes)}; evaluate.words has {', '.join(stands_for)}. Delete the "
            "file and run again."
        )
    return Words(head, tuple(stands_for.values()))


def fill_templates(templates: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Every template filled with every name: a list of sentences per name."""
    return [[template.replace("{}", name) for template in templates] for name in names]


def must_fit(head: Head, classes: tuple[str, ...], dataset: str) -> None:
    """Raise a `UserError` unless the head's classes are the data set's, in the same order."""
    if head.classes != classes:
        raise UserError(
            f"The zero-shot head has the classes {', '.join(head.classes)}; the labels of {dataset} are "
            f"{', '.join(classes)}. Make the head from the data set's own nomenclature."
        )
