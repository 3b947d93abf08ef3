"""Comparison of runs: the scores that they share, and the changes from the first run to the others."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json
from bandbridge.base.paths import RunPaths, is_on_a_line
from bandbridge.config.lines import lines
from bandbridge.metrics.intervals import paired_difference, unpaired_difference
from bandbridge.reporting.tables.curves import Curve, read_curve, read_curves
from bandbridge.reporting.tables.model import SIGNIFICANT, metric_name, modality_name
from bandbridge.reporting.tables.view import encoder_roles, headline, line_of
from bandbridge.scoring.draws import HeadlineDraws, load_draws
from bandbridge.scoring.rows import read_rows

TASKS = {
    "zero-shot": "Zero-shot classification",
    "linear-probe": "Linear probe",
    "knn": "k-NN probe",
    "few-shot": "Few samples per class",
    "retrieval": "Retrieval across modalities",
    "text-retrieval": "Retrieval by text",
    "words": "Retrieval by words that are not class names",
}
LEVEL = 0.95


@dataclass(frozen=True)
class Run:
    """A finished run; `config` is None if its folder has no config.yaml."""

    name: str
    folder: Path
    metrics: pd.DataFrame = field(repr=False)
    curves: Sequence[Curve] = field(repr=False)
    config: Mapping[str, Any] | None = field(repr=False)

    @property
    def level(self) -> float:
        """Level of its intervals."""
        return float(((self.config or {}).get("evaluate", {}).get("bootstrap") or {}).get("level", LEVEL))


@dataclass(frozen=True)
class Key:
    """What two runs' scores must share to be compared. `model` is an encoder's role, not its name."""

    task: str
    model: str
    dataset: str
    modality: str
    nomenclature: str
    prompts: str
    split: str
    metric: str

    @property
    def measure(self) -> str:
        """'mAP, bigearthnet-19, satellite'."""
        direction = modality_name(self.modality) if "->" in self.modality else ""
        return ", ".join(filter(None, [metric_name(self.metric), direction, self.nomenclature, self.prompts]))


KEY_COLUMNS = tuple(field.name for field in fields(Key))


@dataclass(frozen=True)
class Score:
    """A score of one run, 0..1 (a rank for median_rank), with its interval and its encoder."""

    encoder: str
    value: float
    low: float
    high: float
    n: int
    units: float


@dataclass(frozen=True)
class Change:
    """By how much a run's score exceeds the first run's.

    Attributes:
        value: the difference.
        low: lower end of its interval; None unless both runs have draws.
        high: upper end.
        p: two-sided p value.
        paired: whether the draws are of the same half-samples; otherwise the interval is wider than necessary.
        units: independent units behind the interval, NaN without one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    paired: bool = True
    units: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """Runs, the scores of each, and the changes of each except the first."""

    runs: tuple[Run, ...]
    scores: tuple[Mapping[Key, Score], ...]
    changes: tuple[Mapping[Key, Change], ...]

    @property
    def keys(self) -> list[Key]:
        """The keys that at least two runs have, by task, in the order of the first run that has it."""
        every = dict.fromkeys(key for scores in self.scores for key in scores)
        shared = [key for key in every if sum(key in scores for scores in self.scores) > 1]
        return sorted(shared, key=lambda key: list(TASKS).index(key.task))


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Compare the runs of these folders, all of them with the first.

    Raises:
        UserError: fewer than two folders, or one without a finished run.
    """
    if len(set(folders)) < 2:
        raise UserError(
            f"compare: {len(set(folders))} run is named; expected two or more. Name their folders, for example "
            'snakemake compare --config "compare=[demo, seed-1]".'
        )
    runs = _read_runs(folders)
    on_lines = [set(filter(is_on_a_line, run.metrics["encoder"])) for run in runs]
    several = any(len(set(map(line_of, encoders))) > 1 for encoders in on_lines)
    scores = [dict(_scores(run, several)) for run in runs]
    changes = [
        dict(_changes(runs[0], run, scores[0], theirs)) for run, theirs in zip(runs[1:], scores[1:], strict=True)
    ]
    return Comparison(tuple(runs), tuple(scores), tuple(changes))


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_runs(folders: Sequence[Path]) -> list[Run]:
    runs = [_read_run(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        return [replace(run, name=str(run.folder)) for run in runs]
    return runs


def _read_run(folder: Path) -> Run:
    paths = RunPaths(str(folder))
    table = Path(paths.metrics)
    if not table.is_file():
        raise UserError(f"{table} not found: {folder} contains no finished run. Run it first, or correct the name.")
    file = Path(paths.config)
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    # A run with several seeds has a folder for each: 'paper-1' is results/paper/seed-1.
    name = f"{folder.parent.name}-{config['seed']}" if config and config.get("seeds") else folder.name
    return Run(name, folder, read_rows([table]), _curves(folder, config), config)


def _curves(folder: Path, config: Mapping[str, Any] | None) -> list[Curve]:
    """The curve of each line; which line a choice is of, the configuration knows where the choice does not say it."""
    choices = sorted(folder.glob("paint/*/selected.json"))
    if config is None or all("line" in read_json(choice) for choice in choices):
        return read_curves([choice.with_name("curve.csv") for choice in choices], choices)
    paths, curves = RunPaths(str(folder)), []
    for line in lines(config).values():
        table, choice = (Path(paths.paint(line.name, line.tag, file)) for file in ("curve.csv", "selected.json"))
        curves += [read_curve(table, choice, line.name, line.datasets)] if choice.exists() else []
    return curves


def _scores(run: Run, several: bool) -> Iterator[tuple[Key, Score]]:
    """The headlines of every task, by an encoder's role: alpha may differ between runs."""
    models = {
        encoder: _parts(encoder, roles, several) for encoder, roles in encoder_roles(run.metrics, run.curves).items()
    }
    order = {encoder: index for index, encoder in enumerate(models)}
    for task in TASKS:
        rows = run.metrics[(run.metrics["task"] == task) & (run.metrics["class"] == "")]
        if task in ("zero-shot", "linear-probe", "knn"):
            rows = headline(rows, task)
        elif task == "text-retrieval":
            rows = rows[(rows["metric"] == "map") & (rows["split"] == "test")]
        elif task == "words":
            rows = rows[rows["metric"].str.startswith("precision@")]
        else:
            rows = rows[rows["split"] == "test"]
        rows = rows.sort_values("encoder", key=lambda names: names.map(order), kind="stable")
        for row in rows.to_dict("records"):
            modality = row["modality"] if "->" in row["modality"] else ""
            score = Score(row["encoder"], row["value"], row["ci_low"], row["ci_high"], row["n"], row["units"])
            for model in models[row["encoder"]]:
                where = (row["dataset"], modality, row["nomenclature"], row["prompts"], row["split"], row["metric"])
                yield Key(task, model, *where), score


def _parts(encoder: str, roles: Sequence[str], several: bool) -> list[str]:
    """Names of an encoder that are the same in every run; none for an alpha that is neither an end nor selected."""
    if not is_on_a_line(encoder):
        return [f"Aligned ({encoder})" if roles else encoder]
    return [f"{line_of(encoder)}, {role}" if several else role.capitalize() for role in roles]


# --- changes ---------------------------------------------------------------------------------------------------------


def _changes(
    first: Run, other: Run, before: Mapping[Key, Score], after: Mapping[Key, Score]
) -> Iterator[tuple[Key, Change]]:
    for key, score in after.items():
        if key not in before:
            continue
        draws = [_draws(run, scored.encoder, key) for run, scored in ((other, score), (first, before[key]))]
        plain = Change(score.value - before[key].value)
        yield key, _tested(draws[0], draws[1], key, first.level) if draws[0] and draws[1] else plain


def _draws(run: Run, encoder: str, key: Key) -> HeadlineDraws | None:
    """The draws beside a zero-shot score; None if there are none."""
    paths = RunPaths(str(run.folder))
    path = Path(paths.zero_shot(encoder, key.dataset, key.nomenclature, key.prompts, "draws.npz"))
    if key.task != "zero-shot" or not path.is_file():
        return None
    draws = load_draws(path)
    return draws if key.split in draws.values and draws.meta["metric"] == key.metric else None


def _tested(ours: HeadlineDraws, theirs: HeadlineDraws, key: Key, level: float) -> Change:
    split = key.split
    paired = all(ours.meta.get(fact) == theirs.meta.get(fact) for fact in ("seed", "resamples", "store_digest"))
    paired = paired and ours.meta["n"][split] == theirs.meta["n"][split]
    compared = paired_difference if paired else unpaired_difference
    scores, draws = (ours.estimates[split], theirs.estimates[split]), (ours.resampled[split], theirs.resampled[split])
    change = compared(*scores, *draws, level)
    units = min(score.units for score in scores)
    return Change(change.value, change.low, change.high, change.p, paired, units)


def tally(changes: Mapping[Key, Change]) -> tuple[int, int, int]:
    """Count the tested changes.

    Returns:
        The numbers of gains, of losses, and of changes that chance could make.
    """
    tested = [change for change in changes.values() if change.p is not None]
    significant = [change for change in tested if change.p is not None and change.p < SIGNIFICANT]
    better = sum(change.value > 0 for change in significant)
    return better, len(significant) - better, len(tested) - len(significant)
