"""Checks of `evaluate.words`: words that should find the images of a class, and are not its name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bandbridge.base.errors import choices
from bandbridge.catalogue.datasets import (
    dataset_names,
    load_dataset,
    load_nomenclature,
    nomenclature_names,
    prompt_set,
    prompt_set_names,
)
from bandbridge.config.scored import evaluated, main_prompts, open_words, prompts, scored_nomenclatures


def word_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each word that cannot be scored, or would measure nothing new, such as a class's own name."""
    allowed = list(evaluated(config))
    for dataset, words in open_words(config).items():
        if dataset not in allowed:
            yield (
                f"evaluate.words.datasets names '{dataset}', which is not evaluated; evaluated are: "
                f"{choices(dataset, allowed)} Without words, evaluate.words is null."
            )
        elif dataset in dataset_names():
            yield from _dataset_faults(config, dataset, words)


def _dataset_faults(config: Mapping[str, Any], dataset: str, words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    where = f"evaluate.words.datasets.{dataset}"
    nomenclature_name, templates = scored_nomenclatures(config, dataset)[0], main_prompts(config, dataset)
    if nomenclature_name not in nomenclature_names() or templates not in {*prompt_set_names(), *config["prompts"]}:
        return  # a fault of the task or the data set, reported there
    if "test" not in load_dataset(dataset).splits:
        yield f"{where}: {dataset} has no test split, whose images the words are to find."
    nomenclature, prompted = load_nomenclature(nomenclature_name), prompt_set(prompts(config, templates))
    if not prompted.templates:
        yield f"{where}: the prompt set '{templates}' has no templates for the words to fill; add templates."
        return
    for name in words:
        if name not in nomenclature.classes:
            yield (
                f"{where} has words for '{name}', which is not a class of {nomenclature_name}; its classes: "
                f"{choices(name, nomenclature.classes)}"
            )
    sentences = (text for texts in prompted.sentences(nomenclature) for text in texts)
    names = {*nomenclature.classes, *nomenclature.prompt_names, *prompted.names.values(), *sentences}
    yield from _list_faults(where, words, {_plain(name) for name in names})


def _list_faults(where: str, words: Mapping[str, Sequence[str]], names: set[str]) -> Iterator[str]:
    earlier: dict[str, str] = {}
    for name, listed in words.items():
        for word in listed:
            plain = _plain(word)
            if not plain:
                yield f"{where}.{name} lists an empty word; delete it."
            elif plain in names:
                yield f"{where}.{name} lists '{word}', a class's name or prompt; list words that are neither."
            elif plain in earlier:
                yield f"{where} lists '{word}' for {name}, and before that for {earlier[plain]}; list each word once."
            earlier.setdefault(plain, name)


def _plain(text: str) -> str:
    """A text without differences in capitals and spaces."""
    return " ".join(text.split()).casefold()
