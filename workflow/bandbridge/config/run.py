"""What the workflow asks of a valid configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandbridge.base.alphas import alpha_name
from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue.datasets import load_dataset, prompt_set, read_yaml

WEIGHTS_SUFFIXES = {".bin", ".npz", ".pt", ".pth", ".safetensors"}


def uses_scratch(config: Mapping[str, Any]) -> bool:
    """Whether the CLIP to start from is trained here rather than loaded."""
    return any(source == "scratch" for _, source in clips(config).values())


def locked_tower(config: Mapping[str, Any]) -> str | None:
    """The text tower that the CLIP is trained against; None where its text encoder is trained too, or none is."""
    return config["clip"].get("scratch", {}).get("text") if uses_scratch(config) else None


def other_encoders(config: Mapping[str, Any]) -> dict[str, str | None]:
    """The encoders that are not made here: name -> a local checkpoint in place of the published weights, or None."""
    named = [{"name": entry} if isinstance(entry, str) else entry for entry in config["evaluate"]["encoders"]]
    return {entry["name"]: entry.get("checkpoint") for entry in named}


def unpinned_encoders(config: Mapping[str, Any]) -> set[str]:
    """The encoders to whose weights the user has agreed, although nobody states a checksum of them."""
    entries = [entry for entry in config["evaluate"]["encoders"] if not isinstance(entry, str)]
    return {entry["name"] for entry in entries if entry.get("unpinned")}


def absent_checkpoints(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each checkpoint that is missing or plainly no weights, before the first job."""
    named = [
        ("clip.pretrained", source, "or name weights of open_clip (openai)", True)
        for _, source in clips(config).values()
        if source != "scratch"
        and not source.startswith("hf-hub:")
        and ("/" in source or Path(source).suffix in WEIGHTS_SUFFIXES or Path(source).exists())
    ]
    named += [
        (
            f"align.students.{name}.pretrained",
            student["pretrained"],
            "name an encoder of workflow/encoders/, or set it to null to start from random weights",
            False,
        )
        for name, student in config["align"]["students"].items()
        if student["pretrained"] and published_weights(config, student["pretrained"]) is None
    ]
    named += [
        (
            f"evaluate.encoders: checkpoint of {name}",
            path,
            "or name the encoder alone to fetch its published weights",
            True,
        )
        for name, path in other_encoders(config).items()
        if path
    ]
    faults = [sentence for entry in named if (sentence := _checkpoint_fault(*entry))]
    fetched = {name: "evaluate.encoders" for name, path in other_encoders(config).items() if path is None}
    fetched |= {
        s["pretrained"]: f"align.students.{n}" for n, s in config["align"]["students"].items() if s["pretrained"]
    }
    return faults + [sentence for name, key in fetched.items() if (sentence := _manual_fault(config, key, name))]


def _manual_fault(config: Mapping[str, Any], key: str, encoder: str) -> str:
    """What to do about weights that only the user can bring, where they are missing or no weights; '' for nothing."""
    path = published_weights(config, encoder)
    if path is None:
        return ""
    weights = read_yaml("encoders", encoder)["weights"]
    if "manual" not in weights or "urls" in weights:
        return ""
    if not path.exists():
        return (
            f"{key}: {weights['file']} of {encoder} has to be copied manually. {weights['manual'].strip()}\nTo: {path}"
        )
    return "" if path.suffix == ".zip" else _checkpoint_fault(key, str(path), "", directories=False)


def _checkpoint_fault(key: str, source: str, otherwise: str, directories: bool) -> str:
    """What is wrong with a path to weights by its first bytes, '' for nothing; `directories`: it may be one."""
    path = Path(source)
    if not path.exists():
        return f"{key}: {source} not found; copy the checkpoint there, {otherwise}."
    if path.is_dir() and directories:
        return ""
    try:
        weights_format(path)
    except UserError as error:
        return f"{key}: {error}"
    return ""


def configured_precisions(config: Mapping[str, Any]) -> set[str]:
    """The precisions that a run's stages are configured with."""
    scratch = [config["clip"]["scratch"]["precision"]] if uses_scratch(config) else []
    aligned = [align_recipe(config, student)["precision"] for student in config["align"]["students"]]
    return {config["finetune"]["precision"], config["embed"]["precision"], *scratch, *aligned}


def clip_id(name: str) -> str:
    """A CLIP's name in paths and tables: its architecture's name, safe in a path."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")


def clips(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The CLIPs of a run: id -> name of the architecture, and where its weights come from."""
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    names = [names] if isinstance(names, str) else list(names)
    sources = [pretrained] * len(names) if isinstance(pretrained, str) else list(pretrained)
    return {clip_id(name): (name, source) for name, source in zip(names, sources, strict=False)}


def students(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Every student that is aligned: its name among the encoders -> its name in the configuration, its teacher's id."""
    teachers = list(clips(config))
    return {
        name if len(teachers) == 1 else f"{name}-{clip}": (name, clip)
        for clip in teachers
        for name in config["align"]["students"]
    }


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


def tasks(config: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    """The tasks of a role, 'patching' or 'supported': none, one, or several in their order."""
    given = config["tasks"][role]
    return [] if not given else [given] if isinstance(given, Mapping) else list(given)


def all_tasks(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every task of a run, and what the students are aligned on."""
    named = config["align"].get("task")
    return [*tasks(config, "patching"), *tasks(config, "supported"), *([named] if named else [])]


def nomenclature_of(task: Mapping[str, Any]) -> str:
    """The nomenclature of a task: the one it names, else its data set's first."""
    return str(task.get("nomenclature") or load_dataset(task["dataset"]).nomenclature)


def align_task(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the students are aligned on: `align.task`, else the first patching task."""
    return config["align"].get("task") or tasks(config, "patching")[0]


@dataclass(frozen=True)
class Line:
    """A PAINT line: the models between one that it starts from and what a fine-tuning made of it.

    Attributes:
        name: its models are the encoders <name>@<alpha>.
        clip: id of the CLIP whose text encoder and preprocessing it has.
        patching: the tasks that it is to be better at.
        kept: the tasks that must not suffer.
        start: the line at whose chosen model it starts; None where it starts at the CLIP itself.
        parts: lines whose task vectors, each times its own chosen alpha, add up to this one's; none for a line that
            has a fine-tuning of its own.
    """

    name: str
    clip: str
    patching: tuple[Mapping[str, Any], ...]
    kept: tuple[Mapping[str, Any], ...]
    start: str | None = None
    parts: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """Its patching tasks' data sets, for paths."""
        return "+".join(task["dataset"] for task in self.patching)


def lines(config: Mapping[str, Any]) -> dict[str, Line]:
    """Every PAINT line of a run by name; one a CLIP where there is one patching task, or several patched jointly.

    Sequentially, each further task has a line that starts at the model chosen on the line before, whose tasks are kept
    from then on. In parallel, each task has a line of its own, and one more leads to the sum of their task vectors
    (Ilharco et al. 2022, section 5).
    """
    patching, kept = tuple(tasks(config, "patching")), tuple(tasks(config, "supported"))
    how = config["paint"].get("several", "jointly") if len(patching) > 1 else "jointly"
    found = []
    for clip in clips(config):
        names = [clip]
        if how == "sequentially":
            names += [
                f"{clip}-after-{'-'.join(task['dataset'] for task in patching[:n])}" for n in range(1, len(patching))
            ]
            for number, (name, task) in enumerate(zip(names, patching, strict=True)):
                start = names[number - 1] if number else None
                found.append(Line(name, clip, (task,), (*kept, *patching[:number]), start))
            continue
        parts = [f"{clip}-on-{task['dataset']}" for task in patching] if how == "in_parallel" else []
        found += [Line(name, clip, (task,), kept) for name, task in zip(parts, patching, strict=False)]
        found.append(Line(clip, clip, patching, kept, parts=tuple(parts)))
    return {line.name: line for line in found}


def final_lines(config: Mapping[str, Any]) -> dict[str, str]:
    """CLIP -> the line whose chosen model is its patched model."""
    return {line.clip: line.name for line in lines(config).values()}


def model_at(line: Line, alpha: float) -> str:
    """The name of a line's model among the encoders; the zero-shot model has one name on all lines of a CLIP."""
    name = line.clip if line.start is None and not alpha else line.name
    return f"{name}@{alpha_name(alpha)}"


def scored_nomenclatures(config: Mapping[str, Any], dataset: str) -> tuple[str, ...]:
    """What a data set is scored in: what `evaluate.nomenclatures` lists, else its first, and the tasks' own."""
    names = list(config["evaluate"]["nomenclatures"].get(dataset) or [load_dataset(dataset).nomenclature])
    for task in all_tasks(config):
        if task["dataset"] == dataset and nomenclature_of(task) not in names:
            names.append(nomenclature_of(task))
    return tuple(names)


def align_recipe(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """How a student is aligned: the values of `align`, with the student's own `recipe` laid over them."""
    common = {key: value for key, value in config["align"].items() if key not in ("students", "task")}
    return {**common, **config["align"]["students"][student].get("recipe", {})}


def student_facts(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """What a student is, as the configuration states it; without how it is aligned.

    Weights that are named after a file of workflow/encoders are the path that they are fetched to.
    """
    stated = {key: value for key, value in config["align"]["students"][student].items() if key != "recipe"}
    fetched = published_weights(config, stated.get("pretrained"))
    return stated if fetched is None else {**stated, "pretrained": str(fetched)}


def published_weights(config: Mapping[str, Any], pretrained: str | None) -> Path | None:
    """Where the weights of an encoder of workflow/encoders are fetched to; None where `pretrained` names none."""
    if not pretrained or not (WORKFLOW / "encoders" / f"{pretrained}.yaml").is_file():
        return None
    file = read_yaml("encoders", pretrained)["weights"].get("file")
    return None if file is None else Path(config["data_root"]) / "archives" / "encoders" / str(file)


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


def compared_runs(config: Mapping[str, Any]) -> list[str]:
    """The folders of the runs to compare: as they are given, or by their names below `results_root`."""
    named = (Path(run) for run in config["compare"])
    return [str(run if len(run.parts) > 1 else Path(config["results_root"]) / run) for run in named]


def comparison_folder(config: Mapping[str, Any]) -> str:
    """Where their comparison is written to."""
    return str(Path(config["results_root"]) / "comparisons" / "-".join(Path(run).name for run in config["compare"]))
