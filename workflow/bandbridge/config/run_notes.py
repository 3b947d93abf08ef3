"""What a run leaves out or scores twice, in sentences: for the terminal, the tables' notes and the report."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from bandbridge.base.alphas import alpha_name
from bandbridge.catalogue.datasets import Dataset, load_dataset, load_nomenclature, prompt_set
from bandbridge.catalogue.encoders import EncoderFacts, blindness, load_encoder_facts
from bandbridge.config.networks import other_encoders, patched_files, student_facts, student_files, students
from bandbridge.config.scored import evaluated, prompts, scored_nomenclatures


def run_notes(config: Mapping[str, Any]) -> list[str]:
    """Models that were not trained in this run, models that are not scored on a data set, equal prompt sets.

    Args:
        config: a valid configuration.
    """
    datasets = [load_dataset(name, config["datasets"].get(name)) for name in evaluated(config)]
    others = [load_encoder_facts(name, checkpoint) for name, checkpoint in other_encoders(config).items()]
    return [
        *_by_file(config),
        *_unseen_by_students(config, datasets),
        *(note for facts in others for note in _unseen_by(facts, datasets)),
        *_equal_prompts(config),
    ]


def _by_file(config: Mapping[str, Any]) -> Iterator[str]:
    if not any(config["paint"]["alphas"]):
        yield "No CLIP is patched: paint.alphas has only 0."
    for clip, path in patched_files(config).items():
        yield f"{clip} at alpha {alpha_name(max(config['paint']['alphas']))} was not fine-tuned in this run: {path}."
    files = student_files(config)
    for encoder, (name, _) in students(config).items():
        if name in files:
            yield f"{encoder} was not aligned in this run: {files[name]}."


def _unseen_by_students(config: Mapping[str, Any], datasets: list[Dataset]) -> Iterator[str]:
    for encoder, (name, _) in students(config).items():
        for dataset in datasets:
            modality = student_facts(config, name).get("modality") or dataset.primary.name
            names = [modality.name for modality in dataset.modalities]
            if modality == "rgb" or modality not in names:
                contents = "only RGB images" if names == ["rgb"] else f"no {modality}, only {', '.join(names)}"
                yield f"{encoder} is not scored on {dataset.name}, which has {contents}."


def _unseen_by(facts: EncoderFacts, datasets: list[Dataset]) -> Iterator[str]:
    for dataset in datasets:
        if reason := blindness(facts, dataset):
            yield f"{facts.name} is not scored on {dataset.name}: {reason}"
    if not facts.has_text:
        yield (
            f"{facts.name} has no text encoder: it is scored only by probes and neighbours, and is in no table of "
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
