"""What a run leaves out or takes twice, in sentences: for the terminal, the tables' notes and the report."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from bandbridge.catalogue.datasets import Dataset, load_dataset, load_nomenclature, prompt_set
from bandbridge.catalogue.encoders import EncoderFacts, blindness, load_encoder_facts
from bandbridge.config.networks import other_encoders, student_facts, students
from bandbridge.config.scored import evaluated, prompts, scored_nomenclatures


def run_notes(config: Mapping[str, Any]) -> list[str]:
    """Models that are not scored on a data set, with the reason, and prompt sets that are the same.

    Args:
        config: a valid configuration.
    """
    datasets = [load_dataset(name, config["datasets"].get(name)) for name in evaluated(config)]
    others = [load_encoder_facts(name, checkpoint) for name, checkpoint in other_encoders(config).items()]
    return [
        *_unseen_by_students(config, datasets),
        *(note for facts in others for note in _unseen_by(facts, datasets)),
        *_equal_prompts(config),
    ]


def _unseen_by_students(config: Mapping[str, Any], datasets: list[Dataset]) -> Iterator[str]:
    for encoder, (name, _) in students(config).items():
        for dataset in datasets:
            sees = student_facts(config, name).get("modality") or dataset.primary.name
            modalities = [modality.name for modality in dataset.modalities]
            if sees == "rgb" or sees not in modalities:
                lacks = "pictures alone" if modalities == ["rgb"] else f"no {sees}, only {', '.join(modalities)}"
                yield f"{encoder} is not scored on {dataset.name}, which has {lacks}."


def _unseen_by(facts: EncoderFacts, datasets: list[Dataset]) -> Iterator[str]:
    for dataset in datasets:
        if reason := blindness(facts, dataset):
            yield f"{facts.name} is not scored on {dataset.name}: {reason}"
    if not facts.has_text:
        yield (
            f"{facts.name} has no text encoder: it is scored by probes and neighbours alone, and is in no table of "
            "zero-shot classification or of retrieval by text."
        )


def _equal_prompts(config: Mapping[str, Any]) -> Iterator[str]:
    for dataset, names in evaluated(config).items():
        for nomenclature in map(load_nomenclature, scored_nomenclatures(config, dataset)):
            sentences = {name: prompt_set(prompts(config, name)).sentences(nomenclature) for name in names}
            for one, other in combinations(names, 2):
                if sentences[one] == sentences[other]:
                    yield (
                        f"The prompt sets {one} and {other} are the same sentences in {nomenclature.name}, and so "
                        f"are their scores on {dataset}."
                    )
