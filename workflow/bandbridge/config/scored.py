"""What the encoders of a run are scored on: data sets, nomenclatures, prompt sets, words."""

from collections.abc import Mapping
from typing import Any

from bandbridge.catalogue.datasets import load_dataset, prompt_set, read_yaml
from bandbridge.config.lines import all_tasks, nomenclature_of, tasks


def prompts(config: Mapping[str, Any], name: str) -> list[str] | dict[str, Any]:
    """What a prompt set is made of, as it is written: the config's own, or that of `workflow/prompts/`.

    A list of templates where there is no more to it, otherwise a mapping; see `catalogue.prompt_set`.
    """
    written = config["prompts"].get(name) or read_yaml("prompts", name)
    if not isinstance(written, Mapping):
        return list(written)
    parts = {key: written[key] for key in ("templates", "names", "classes") if written.get(key)}
    return list(parts["templates"]) if set(parts) == {"templates"} else parts


def templates(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The templates of a prompt set."""
    return prompt_set(prompts(config, name)).templates


def scored_nomenclatures(config: Mapping[str, Any], dataset: str) -> tuple[str, ...]:
    """What a data set is scored in: what `evaluate.nomenclatures` lists, else its first, and the tasks' own."""
    names = list(config["evaluate"]["nomenclatures"].get(dataset) or [load_dataset(dataset).nomenclature])
    for task in all_tasks(config):
        if task["dataset"] == dataset and nomenclature_of(task) not in names:
            names.append(nomenclature_of(task))
    return tuple(names)


def evaluated(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Data set -> prompt sets to score it with: what `evaluate.datasets` lists and the tasks' own, in that order."""
    sets = {name: list(prompts) for name, prompts in config["evaluate"]["datasets"].items()}
    for task in [*tasks(config, "patching"), *tasks(config, "supported")]:
        if task["prompts"] not in sets.setdefault(task["dataset"], []):
            sets[task["dataset"]].append(task["prompts"])
    return {name: tuple(prompts) for name, prompts in sets.items() if prompts}


def main_prompts(config: Mapping[str, Any], dataset: str) -> str:
    """The prompt set that stands for a data set where one is enough: its task's, or the first of those it has."""
    sets = evaluated(config)[dataset]
    of_tasks = [task["prompts"] for task in all_tasks(config) if task["dataset"] == dataset]
    return next((name for name in of_tasks if name in sets), sets[0])


def open_words(config: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Data set -> class -> the words of `evaluate.words` that stand for it; nothing where they are switched off."""
    return dict((config["evaluate"].get("words") or {}).get("datasets", {}))


def neighbours_asked(config: Mapping[str, Any], dataset: str, has_students: bool) -> list[dict[str, Any]]:
    """What asks for a number of samples of a data set: a key of `evaluate`, its values, the split, labelled or not.

    Args:
        has_students: whether any student sees the data set, so that there is retrieval between modalities.
    """
    evaluate = config["evaluate"]
    retrieval, by_text, words = evaluate["retrieval"], evaluate["text_retrieval"], evaluate.get("words")
    asked: list[dict[str, Any]] = []
    if retrieval and has_students:
        asked.append({"key": "evaluate.retrieval.ks", "values": retrieval["ks"], "split": "test", "labelled": False})
        if retrieval["label_map_k"]:
            key, values = "evaluate.retrieval.label_map_k", [retrieval["label_map_k"]]
            asked.append({"key": key, "values": values, "split": "test", "labelled": True})
    if by_text:
        asked.append({"key": "evaluate.text_retrieval.ks", "values": by_text["ks"], "split": "test", "labelled": True})
    if words and dataset in words["datasets"]:
        asked.append({"key": "evaluate.words.k", "values": [words["k"]], "split": "test", "labelled": True})
    if evaluate["knn"] and dataset in _probed(config):
        asked.append({"key": "evaluate.knn.k", "values": [evaluate["knn"]["k"]], "split": "train", "labelled": True})
    return asked


def shots_asked(config: Mapping[str, Any], dataset: str) -> list[int]:
    """Samples per class that probes on a data set learn from."""
    return list(config["evaluate"]["linear_probe"]["shots"]) if dataset in _probed(config) else []


def _probed(config: Mapping[str, Any]) -> list[str]:
    return list((config["evaluate"]["linear_probe"] or {}).get("datasets", []))
