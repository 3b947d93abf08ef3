"""The models in a run's folder, and the run's metadata of each."""

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bandbridge import __version__
from bandbridge.base.alphas import alpha_name
from bandbridge.base.checksums import open_verified
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json
from bandbridge.base.packages import installed_versions
from bandbridge.catalogue.datasets import prompt_set
from bandbridge.config.lines import align_task, lines, nomenclature_of
from bandbridge.config.networks import students
from bandbridge.config.scored import prompts
from bandbridge.metrics.classification import unit_rows
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import load_embeddings
from bandbridge.store.heads import Head, load_head
from bandbridge.use.calibration import cached_fit
from bandbridge.use.card import Card

SETTINGS = "config.yaml"
# The metrics of metrics.csv that a model's card shows.
SCORES = ("accuracy", "balanced_accuracy", "map", "f1_micro", "precision@20", "lift@20", "recall@1", "recall@5")
KEPT_COLUMNS = ("dataset", "modality", "task", "nomenclature", "prompts", "metric", "value", "ci_low", "ci_high", "n")
SOFTWARE = ("torch", "timm", "open_clip_torch")


@dataclass(frozen=True)
class RunModel:
    """A model in a run's folder.

    Attributes:
        run: the run's folder.
        folder: of the model.
        kind: 'student' or 'clip'.
    """

    run: Path
    folder: Path
    kind: str


def models_of(run: Path) -> list[RunModel]:
    """The finished models of a run, its students first."""
    aligned = [RunModel(run, path.parent, "student") for path in sorted(run.glob("align/*/model.safetensors"))]
    patched = sorted(run.glob("paint/*/patched/open_clip_config.json"))
    return [*aligned, *(RunModel(run, path.parent, "clip") for path in patched)]


def is_run(folder: Path) -> bool:
    return (folder / "align").is_dir() or (folder / "paint").is_dir()


def only_model(run: Path) -> RunModel:
    """The model that a run's folder means: its student, or its patched CLIP if it has no student.

    Raises:
        UserError: it has several students, or no finished model.
    """
    models = models_of(run)
    aligned = [model for model in models if model.kind == "student"]
    if len(aligned) > 1 or (not aligned and len(models) > 1):
        listed = ", ".join(str(model.folder) for model in models)
        raise UserError(f"{run} has several models; name one of {listed}.")
    if not models:
        raise UserError(
            f"{run} has no finished model (align/<student>/model.safetensors, paint/<line>/patched); finish the run."
        )
    return (aligned or models)[0]


def model_of(folder: Path) -> RunModel | None:
    """The model of a run in this folder, or in `patched` below it; None for any other folder."""
    folder = folder.resolve()
    if folder.parent.name == "align" and (folder / "model.safetensors").is_file():
        return RunModel(folder.parents[1], folder, "student")
    if folder.parent.name == "paint" and (folder / "patched").is_dir():
        folder = folder / "patched"
    if folder.name == "patched" and folder.parent.parent.name == "paint":
        return RunModel(folder.parents[2], folder, "clip")
    return None


def seeds_in(folder: Path) -> list[Path]:
    """The folders of the seeds of a run with several."""
    return [seed for seed in sorted(folder.glob("seed-*")) if is_run(seed)]


def part_of(run: Path, part: str) -> Path:
    """A folder of a run, which the seeds of a run with several may share."""
    is_shared = run.name.startswith("seed-") and not (run / part).is_dir()
    return (run.parent if is_shared else run) / part


def settings_of(run: Path) -> dict[str, Any] | None:
    """The configuration that a run wrote beside its report; None if it has no report yet."""
    path = run / SETTINGS
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def describe(model: RunModel, facts: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Card:
    """The card of a run's model.

    Args:
        model: of the run.
        facts: stated in its weights: `bands`, `clip`, `precision`.
        settings: the run's configuration; without it only `facts` are known.
    """
    name = model.folder.name if model.kind == "student" else model.folder.parent.name
    card = Card(
        name=name,
        kind=model.kind,
        title=name,
        bands=tuple(facts.get("bands", ())),
        clip=facts.get("clip"),
        precision=facts.get("precision"),
        versions={"bandbridge": __version__, **installed_versions(*SOFTWARE)},
    )
    if settings is None:
        return card
    task, encoder, alpha, clip = _role(model, settings)
    head, nomenclature = _head(model.run, clip, task)
    store = _store(model.run, settings, task, nomenclature)
    values: dict[str, Any] = {
        "clip": clip,
        "alpha": alpha,
        "templates": _templates(settings, task["prompts"]),
        "scores": tuple(_scores(model.run, encoder)),
        "title": f"{name} of the run {settings['run']}",
    }
    if head is not None:
        values |= {"classes": head.classes, "prompts": head.prompts}
    if store is not None:
        values |= _of_store(store)
        if head is not None:
            values["calibration"] = _calibration(model.run, encoder, store, task, head)
    return Card(**{**{key: getattr(card, key) for key in ("name", "kind", "bands", "precision", "versions")}, **values})


def _role(model: RunModel, settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, float | None, str]:
    """The task that a model learnt, its name among the encoders, its alpha, and the id of its CLIP."""
    if model.kind == "student":
        _, clip = students(settings).get(model.folder.name, (model.folder.name, ""))
        line = next((line for line in lines(settings).values() if line.clip == clip), None)
        alpha = _alpha(model.run / "paint" / f"{line.name}.{line.tag}") if line else None
        return align_task(settings), model.folder.name, alpha, clip
    place = model.folder.parent
    line = next((line for line in lines(settings).values() if f"{line.name}.{line.tag}" == place.name), None)
    if line is None:
        raise UserError(f"{model.folder}: {SETTINGS} of the run has no line {place.name}; run it again.")
    alpha = _alpha(place)
    encoder = f"{line.name}@{alpha_name(alpha or 0.0)}"
    return line.patching[0], encoder, alpha, line.clip


def _alpha(folder: Path) -> float | None:
    path = folder / "selected.json"
    return float(read_json(path)["alpha"]) if path.is_file() else None


def _templates(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The templates of a prompt set; empty if its file belongs to another clone."""
    try:
        return prompt_set(prompts(settings, name)).templates
    except UserError:
        return ()


def _head(run: Path, clip: str, task: Mapping[str, Any]) -> tuple[Head | None, str | None]:
    """The head that a model was trained under, and its nomenclature, which the data set's file may decide."""
    stated = task.get("nomenclature") or "*"
    heads = sorted((part_of(run, "heads") / clip).glob(f"{task['dataset']}.{stated}.{task['prompts']}.npz"))
    if len(heads) > 1:
        # The run belongs to this installation, whose file of the data set states which.
        heads = [path for path in heads if path.name.split(".")[1] == nomenclature_of(task)]
    return (load_head(heads[0]), heads[0].name.split(".")[1]) if heads else (None, None)


def _store(run: Path, settings: Mapping[str, Any], task: Mapping[str, Any], nomenclature: str | None) -> Store | None:
    """The store of a task's data set; None if it is missing. Paths of a configuration are relative to its clone."""
    stores = Path(settings["store_root"] or Path(settings["data_root"], "zarr"))
    for root in (Path(), *run.resolve().parents):
        path = root / stores / f"{task['dataset']}.zarr"
        if (path / "zarr.json").is_file():
            return Store(path, nomenclature)
    return None


def _of_store(store: Store) -> dict[str, Any]:
    facts = store.facts
    side = store.split(store.splits[0]).side if facts.get("resolution") else None
    return {
        "sensor": facts["sensor"],
        "product": facts.get("product"),
        "units": facts.get("units"),
        "resolution": facts.get("resolution"),
        "window": round(side / facts["resolution"]) if side else None,
        "composite": facts["composite"],
        "data": {
            "dataset": store.attrs["dataset"],
            "kind": store.label_kind,
            "nomenclature": store.nomenclature,
            **{key: store.attrs.get(key) for key in ("title", "licence", "attribution", "cite")},
        },
    }


def _calibration(run: Path, encoder: str, store: Store, task: Mapping[str, Any], head: Head) -> dict[str, Any] | None:
    path = run / "embeddings" / encoder / f"{task['dataset']}.val.zarr"
    if "val" not in store.splits or not (path / "zarr.json").is_file():
        return None
    embeddings, samples = load_embeddings(path), store.split("val")
    # All samples have embeddings; a nomenclature may leave some out.
    row_of = {name: row for row, name in enumerate(embeddings.ids.tolist())}
    rows = [row_of[name] for name in samples.ids.tolist() if name in row_of]
    if len(rows) != len(samples):
        return None
    cosines = unit_rows(embeddings.embedding[np.array(rows, int)]) @ head.weights.T
    fitted = cached_fit(cosines, samples.labels, store.label_kind, store.attrs["dataset"], "val")
    return None if fitted is None else asdict(fitted)


def _scores(run: Path, encoder: str) -> list[dict[str, Any]]:
    path = run / "metrics.csv"
    if not path.is_file():
        return []
    with open_verified(path) as file:
        rows = [row for row in csv.DictReader(file) if row["encoder"].lstrip("'") == encoder and row["split"] == "test"]
    return [
        {column: _number(row[column]) for column in KEPT_COLUMNS}
        for row in rows
        if row["metric"] in SCORES and not row["class"]
    ]


def _number(cell: str) -> str | float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell.lstrip("'")
