"""The user's labels, as vectors of a model's text encoder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.catalogue.datasets import (
    load_nomenclature,
    nomenclature_names,
    prompt_set,
    prompt_set_names,
    read_yaml,
)
from bandbridge.store.heads import fill_templates
from bandbridge.use.calibration import COSINE, PROBABILITY, Calibration
from bandbridge.use.card import PLAIN_TEMPLATES, Card

VERBATIM = "none"
_LISTS = (".txt", ".csv")  # endings of files that people mean by the name of a label


class TextEncoder(Protocol):
    """An encoder of sentences, with the model's metadata."""

    @property
    def card(self) -> Card: ...
    def encode_sentences(self, sentences: Sequence[Sequence[str]]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, eq=False)
class Labels:
    """Classes to choose from.

    Attributes:
        head: (class, dim) unit vectors.
        calibration: if the classes and their sentences are those of the validation data.
        templates: that the names filled, of classes for which the model has no sentences of its own.
    """

    names: tuple[str, ...]
    head: NDArray[np.float32]
    calibration: Calibration | None = None
    templates: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """What `scores` returns: 'probability' or 'cosine'."""
        return COSINE if self.calibration is None else PROBABILITY

    def scores(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (n, class) of unit embeddings (n, dim)."""
        cosines = embeddings @ self.head.T
        return cosines if self.calibration is None else self.calibration.probabilities(cosines)


def make_labels(
    model: TextEncoder, labels: str | Sequence[str] | None = None, templates: str | Sequence[str] | None = None
) -> Labels:
    """Classes as vectors.

    Args:
        model: whose text encoder makes the vectors.
        labels: names, as a list or separated by commas; a nomenclature of workflow/nomenclatures; a text file with a
            name per line; None for the classes of the model's training.
        templates: see `chosen_templates`.

    Raises:
        UserError: fewer than two labels, one twice, one without words, the name of a file that cannot be read as
            labels, or none stated for a model without classes.
    """
    card = model.card
    names, spoken = _names(card, labels)
    must_be_words(names, "--labels")
    _must_be_no_files(names)
    if len(names) < 2:
        raise UserError(
            f"--labels has {'only ' + repr(names[0]) if names else 'no label'}; the best of one label means nothing. "
            'Name two or more, such as --labels "forest, water, something else", a nomenclature of '
            f"workflow/nomenclatures, or a .txt file.{did_you_mean(names[0], nomenclature_names()) if names else ''}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"--labels names {', '.join(twice)} twice; name each label once.")
    trained_sentences = dict(zip(card.classes, card.prompts, strict=False)) if templates is None else {}
    chosen = chosen_templates(card, templates)
    filled = fill_templates(chosen, spoken)
    sentences = [trained_sentences.get(name) or tuple(texts) for name, texts in zip(names, filled, strict=True)]
    as_trained = bool(trained_sentences) and set(names) == set(trained_sentences)
    calibration = Calibration(**card.calibration) if as_trained and card.calibration else None
    return Labels(names, model.encode_sentences(sentences), calibration, chosen)


def must_be_words(texts: Sequence[object], what: str) -> None:
    """Raise `UserError` unless every text has words; an empty one would get the vector of the bare templates."""
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{what} is {text!r}; expected words, such as 'a lake'.")


def _must_be_no_files(names: Sequence[str]) -> None:
    for name in names:
        if Path(name).suffix.lower() in _LISTS:
            fault = "is a file" if Path(name).is_file() else "does not exist"
            raise UserError(
                f"--labels names {name}, which {fault}. Labels are words, or one .txt file with a label per line."
            )


def chosen_templates(card: Card, templates: str | Sequence[str] | None) -> tuple[str, ...]:
    """Templates: a set of workflow/prompts, one template or several, 'none' for bare words, None for the model's.

    Raises:
        UserError: no such set.
    """
    if templates is None:
        return card.templates or PLAIN_TEMPLATES
    if not isinstance(templates, str):
        chosen = tuple(templates)
    elif templates == VERBATIM:
        return ("{}",)
    elif "{}" in templates:
        chosen = (templates,)
    else:
        if templates not in prompt_set_names():
            names = prompt_set_names()
            raise UserError(
                f"--templates is '{templates}'; allowed: {', '.join(names)} (workflow/prompts), 'none', or a template "
                f"with {{}} for the label.{did_you_mean(templates, names)}"
            )
        written = read_yaml("prompts", templates)
        chosen = prompt_set(written if "classes" in written else written["templates"]).templates
    if not chosen or not all("{}" in text for text in chosen):
        raise UserError(
            f"templates are {', '.join(map(repr, chosen)) or 'none'}; each needs {{}} in place of the label."
        )
    return chosen


def _names(card: Card, labels: str | Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels, and the names that fill the templates for them."""
    if labels is None:
        if not card.classes:
            raise UserError(f'{card.name} has no classes of its own; name them: --labels "forest, water, meadow".')
        return card.classes, card.classes
    if not isinstance(labels, str):
        names = tuple(label.strip() if isinstance(label, str) else label for label in labels)
        return names, names
    if labels in nomenclature_names():
        nomenclature = load_nomenclature(labels)
        return nomenclature.classes, nomenclature.prompt_names
    if re.fullmatch(r"(?i)[^,]+\.txt", labels) and Path(labels).is_file():
        from bandbridge.ingest.text_files import read_lines  # it brings pandas

        names = tuple(read_lines(Path(labels)))
    else:
        names = tuple(part.strip() for part in labels.split(",") if part.strip())
    return names, names
