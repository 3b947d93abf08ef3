"""Runs that differ only in their seed: mean and deviation of scores, of gains, and of changes between recipes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import numpy as np

from bandbridge.base.paths import zero_shot
from bandbridge.reporting.compare.runs import Comparison, Key, Run, Score
from bandbridge.scoring.draws import load_draws

# Sections and keys that do not affect a run's scores, besides the seed itself.
NO_RECIPE = ("run", "seed", "seeds", "report", "tables", "compare", "apply", "results_root", "log_root")


@dataclass(frozen=True)
class Spread:
    """A number per seed: `values` in the order of `seeds`, fractions (ranks for median_rank)."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN if one of the values is."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, with n - 1 in its denominator."""
        return float(np.std(self.values, ddof=1))


@dataclass(frozen=True)
class Recipe:
    """Runs of one configuration with two or more seeds, in the order of their seeds.

    Attributes:
        name: what the runs' names have in common.
        runs, seeds: index i of one belongs to index i of the other.
        repeated: runs whose seed is that of an earlier one, and that do not count.
        scores: per score that all runs have on the same test samples.
        gains: those over zero-shot CLIP, each within its run, that is on the same test samples.
        changes: from the first recipe to this one, in pairs of equal seeds; at least two.
        samples: test samples of each score.
        other_samples: data sets whose test samples are not the same in all runs, and that are left out.
    """

    name: str
    runs: tuple[Run, ...]
    seeds: tuple[int, ...]
    repeated: tuple[str, ...] = ()
    scores: Mapping[Key, Spread] = field(default_factory=dict, repr=False)
    gains: Mapping[Key, Spread] = field(default_factory=dict, repr=False)
    changes: Mapping[Key, Spread] = field(default_factory=dict, repr=False)
    samples: Mapping[Key, int] = field(default_factory=dict, repr=False)
    other_samples: tuple[str, ...] = ()


def recipes_of(comparison: Comparison) -> list[Recipe]:
    """The compared runs that differ only in their seed, by configuration.

    A configuration with a single seed is no recipe, and a run without config.yaml belongs to none.
    """
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(comparison.runs):
        if run.config is not None:
            stated = {key: value for key, value in run.config.items() if key not in NO_RECIPE}
            groups.setdefault(json.dumps(stated, sort_keys=True, default=str), []).append(index)
    recipes: list[Recipe] = []
    for indices in groups.values():
        by_seed: dict[int, int] = {}
        for index in indices:
            by_seed.setdefault(_seed(comparison.runs[index]), index)
        if len(by_seed) > 1:
            repeated = [comparison.runs[index].name for index in indices if index not in by_seed.values()]
            recipes.append(_recipe(comparison, dict(sorted(by_seed.items())), repeated))
    named = _distinctly_named(recipes)
    return [*named[:1], *(_compared(recipe, named[0]) for recipe in named[1:])]


def _seed(run: Run) -> int:
    """The seed of a run's configuration; of its metrics where that states none."""
    stated: Any = (run.config or {}).get("seed")
    return int(run.metrics["seed"].iloc[0] if stated is None else stated)


def _recipe(comparison: Comparison, by_seed: Mapping[int, int], repeated: Sequence[str]) -> Recipe:
    seeds, indices = tuple(by_seed), list(by_seed.values())
    runs, scores = [comparison.runs[index] for index in indices], [comparison.scores[index] for index in indices]
    shared = [key for key in comparison.keys if all(key in of_run for of_run in scores)]
    digests = [_digests(run) for run in runs]

    def same_samples(key: Key) -> bool:
        facts = [(of_run[key].n, digest.get(key.dataset)) for of_run, digest in zip(scores, digests, strict=True)]
        return len(set(facts)) == 1

    kept = [key for key in shared if same_samples(key)]
    gains = [dict(_gains(run, of_run)) for run, of_run in zip(runs, scores, strict=True)]
    return Recipe(
        _common_name([run.name for run in runs]),
        tuple(runs),
        seeds,
        tuple(repeated),
        {key: Spread(seeds, tuple(of_run[key].value for of_run in scores)) for key in kept},
        {
            key: Spread(seeds, tuple(of_run[key] for of_run in gains))
            for key in kept
            if all(key in of_run for of_run in gains)
        },
        samples={key: scores[0][key].n for key in kept},
        other_samples=tuple(dict.fromkeys(key.dataset for key in shared if key not in set(kept))),
    )


def _common_name(names: Sequence[str]) -> str:
    """'ablation' of 'ablation-0' and 'ablation-1'; all names where they begin differently."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same).rstrip("-_. ") or ", ".join(names)


def _digests(run: Run) -> dict[str, str]:
    """Data set -> the digest of the store that the run's scores are of, where a file of draws states it."""
    digests: dict[str, str] = {}
    for path in sorted(run.folder.glob("metrics/*/zero-shot.*.draws.npz")):
        dataset = path.name.split(".")[1]
        if dataset not in digests:
            digests[dataset] = str(load_draws(path).meta.get("store_digest"))
    return digests


def _gains(run: Run, scores: Mapping[Key, Score]) -> Iterator[tuple[Key, float]]:
    """Every score's gain over zero-shot CLIP on the same line, or over the only zero-shot CLIP of the run."""
    clips = run.metrics.drop_duplicates("encoder").set_index("encoder")["clip"].to_dict()
    starts = {zero_shot(clip) for clip in clips.values()} & set(clips)
    measured = {(score.encoder, replace(key, model="")): score.value for key, score in scores.items()}
    for key, score in scores.items():
        start = zero_shot(clips[score.encoder])
        if start not in starts and len(starts) == 1:
            (start,) = starts
        base = measured.get((start, replace(key, model="")))
        if base is not None and score.encoder != start:
            yield key, score.value - base


def _distinctly_named(recipes: Sequence[Recipe]) -> list[Recipe]:
    names = [recipe.name for recipe in recipes]
    return [
        replace(recipe, name=", ".join(run.name for run in recipe.runs)) if names.count(recipe.name) > 1 else recipe
        for recipe in recipes
    ]


def _compared(recipe: Recipe, first: Recipe) -> Recipe:
    """The recipe with its changes from the first one, of what both have on the same test samples."""
    seeds = [seed for seed in recipe.seeds if seed in first.seeds]
    if len(seeds) < 2:
        return recipe
    digests = [_digests(each.runs[0]) for each in (first, recipe)]
    changes = {}
    for key, spread in recipe.scores.items():
        same = (
            key in first.scores
            and first.samples[key] == recipe.samples[key]
            and digests[0].get(key.dataset) == digests[1].get(key.dataset)
        )
        if same:
            before, after = (dict(zip(each.seeds, each.values, strict=True)) for each in (first.scores[key], spread))
            changes[key] = Spread(tuple(seeds), tuple(after[seed] - before[seed] for seed in seeds))
    return replace(recipe, changes=changes)
