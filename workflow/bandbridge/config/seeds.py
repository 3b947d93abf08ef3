"""A run with several seeds: what depends on the seed once for each, everything else once."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bandbridge.config.apply import Applications
from bandbridge.config.evaluation import Evaluation
from bandbridge.config.run import Run

# In paths of a rule that makes the same for every seed.
ANY_SEED = "{seed}"
SEED = re.compile("0|[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class SeedRun:
    """A run with one seed: everything that the rules ask of it."""

    run: Run
    scores: Evaluation
    applied: Applications


def seed_run(config: Mapping[str, Any]) -> SeedRun:
    """The run with the seed of a configuration's `seed`."""
    run = Run(config)
    return SeedRun(run, Evaluation(run), Applications(run))


class Seeds:
    """The seeds of a run.

    Args:
        config: a valid configuration.

    Attributes:
        any: the run as the rules describe it: in its paths the seed is a wildcard, where there are several.
        each: seed, as text -> the run with that seed; `any` alone where there is one.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        several: list[int] = config.get("seeds") or []
        self.any = seed_run({**config, "seed": ANY_SEED} if several else config)
        self.each = {str(seed): seed_run({**config, "seed": seed}) for seed in several} or {
            str(config["seed"]): self.any
        }

    @property
    def several(self) -> bool:
        return len(self.each) > 1

    def bound_to(self, function: Callable[..., Any], seed: str | None) -> Callable[..., Any]:
        """The same method of the run with a seed; any other function, and one without a seed, as it is."""
        owners = (self.any.run, self.any.scores, self.any.applied)
        owner = getattr(function, "__self__", None)
        if seed is None or not any(owner is each for each in owners):
            return function
        mine = self.each[seed]
        same = next(each for each in (mine.run, mine.scores, mine.applied) if type(each) is type(owner))
        bound: Callable[..., Any] = getattr(same, function.__name__)
        return bound


def seeds_of(config: Mapping[str, Any]) -> list[int]:
    """The seeds of a run, in the order of the configuration."""
    return list(config.get("seeds") or [config["seed"]])


def with_numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose seeds are numbers: Snakemake passes those of `--config "seeds=[0, 1]"` on as text."""
    seeds = config.get("seeds")
    if not isinstance(seeds, list):
        return dict(config)
    as_numbers = [int(seed) if isinstance(seed, str) and SEED.fullmatch(seed) else seed for seed in seeds]
    return {**config, "seeds": as_numbers}


def seed_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where `seeds` lists a seed twice, or a single one."""
    seeds = config.get("seeds") or []
    if repeated := [str(seed) for seed, count in Counter(seeds).items() if count > 1]:
        yield f"seeds lists {', '.join(repeated)} more than once; each seed is one repetition of the run, list it once."
    elif len(seeds) == 1:
        yield f"seeds lists only {seeds[0]}, and one run has no deviation; set seed: {seeds[0]}, or list another."
