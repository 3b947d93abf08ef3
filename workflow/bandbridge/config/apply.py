"""`apply`: the scenes that a run maps with its models, and the images that it embeds into archives."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.errors import choices
from bandbridge.catalogue.datasets import prompt_set, prompt_set_names, read_yaml
from bandbridge.config.lines import align_task, final_lines
from bandbridge.config.networks import students
from bandbridge.config.run import Chosen, Run
from bandbridge.config.sections.apply import Application

PATCHED = "patched"  # short for the patched model of the only CLIP
DEFAULTS = {name: field.default for name, field in Application.model_fields.items() if not field.is_required()}
OF_MAPS = ("labels", "templates", "scores", "polygons")


class Applications:
    """Inputs and outputs of the jobs of `apply`; for `chosen` see `Run`. `applied` is an entry's name.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._entries = applications(run.config)

    def maps(self) -> list[str]:
        return self._files("map", "tif")

    def summaries(self) -> list[str]:
        """What the report shows of each map."""
        return self._files("map", "json")

    def archives(self) -> list[str]:
        return self._files("archive", "parquet")

    def entry(self, applied: str) -> dict[str, Any]:
        """An entry with every key; `templates` are those of the prompt set that it names."""
        entry = self._entries[applied]
        if entry["templates"] not in prompt_set_names():
            return entry
        return {**entry, "templates": list(prompt_set(read_yaml("prompts", entry["templates"])).templates)}

    def settings(self, applied: str) -> dict[str, Any]:
        return apply_settings(self._run.config, self._entries[applied]["model"])

    def users_files(self, applied: str) -> list[str]:
        """The user's own files that an entry reads: the images, and the polygons that a map is compared with."""
        entry = self._entries[applied]
        return [str(entry["images"]), *([str(entry["polygons"]["file"])] if entry["polygons"] else [])]

    def model_files(self, applied: str, chosen: Chosen) -> dict[str, str]:
        """The weights of an entry's model, its text encoder, and the files behind its labels and confidence."""
        run, model = self._run, self._entries[applied]["model"]
        if model in run.students:
            encoder, clip, task = model, run.clip_of(model), align_task(run.config)
            weights = run.aligned(model, chosen)
        else:
            clip, line = model, run.patched[model]
            task = run.lines[line].patching[0]
            encoder, weights = chosen(line), run.of_line(line, "patched/open_clip_model.safetensors")
        dataset = task["dataset"]
        files = {
            "weights": weights,
            "text": run.clip_paths.clip(clip),
            "head": run.task_head(clip, task),
            "store": run.paths.store(dataset),
        }
        if "val" in run.scored_splits(dataset) and dataset in run.evaluated:
            files["validation"] = run.encoded(encoder, dataset, "val", chosen)
        return files

    def _files(self, makes: str, ending: str) -> list[str]:
        return [self._run.paths.applied(name, ending) for name in made_by(self._run.config, makes)]


def applications(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> what to apply to which images, with every key; `model` is a student, or a CLIP for its patched model."""
    return {
        name: {**DEFAULTS, **entry, "model": _model(config, entry.get("model"))}
        for name, entry in (config.get("apply") or {}).items()
    }


def made_by(config: Mapping[str, Any], makes: str) -> list[str]:
    """The names of the entries that make maps ('map') or archives ('archive')."""
    return [name for name, entry in applications(config).items() if entry["makes"] == makes]


def apply_settings(config: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The keys of a configuration that describe a model, and no others: a change of those reruns nothing."""
    student = students(config).get(model)
    return {
        "run": config["run"],
        "data_root": config["data_root"],
        "store_root": config["store_root"],
        "clip": {key: config["clip"][key] for key in ("name", "pretrained")},
        "tasks": config["tasks"],
        "prompts": config["prompts"],
        "paint": {"several": config["paint"].get("several", "jointly")},
        "align": {"task": config["align"].get("task"), "students": {student[0]: {}} if student else {}},
    }


def apply_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each entry whose model or images do not exist, or whose keys contradict each other."""
    models = _models(config)
    for name, entry in (config.get("apply") or {}).items():
        where = f"apply.{name}"
        model = entry.get("model")
        if model is not None and model not in models:
            yield f"{where}.model is '{model}'; there are: {choices(model, models)}"
        if not Path(entry["images"]).exists():
            yield f"{where}.images: {entry['images']} not found; name a raster, a folder of bands or a SAFE product."
        if entry.get("makes", "map") == "archive":
            for key in OF_MAPS:
                if entry.get(key):
                    yield f"{where}.{key} applies to maps only, but makes is archive; leave it out."
        labels = entry.get("labels")
        if labels is not None and len(set(labels)) < 2:
            yield f"{where}.labels has fewer than two different labels, so the best one means nothing; add another."
        window, stride = entry.get("window"), entry.get("stride")
        if window and stride and stride > window:
            yield f"{where}.stride is {stride}, more than the window of {window}: some pixels would be in none."
        polygons = entry.get("polygons")
        if polygons and not Path(polygons["file"]).exists():
            yield f"{where}.polygons.file: {polygons['file']} not found."


def _models(config: Mapping[str, Any]) -> list[str]:
    lines = final_lines(config)
    return [*students(config), *([PATCHED] if len(lines) == 1 else []), *lines]


def _model(config: Mapping[str, Any], stated: str | None) -> str:
    """A student's encoder name, or a CLIP's id for its patched model."""
    if stated is None:
        return next(iter(students(config)), next(iter(final_lines(config))))
    return next(iter(final_lines(config))) if stated == PATCHED else stated
