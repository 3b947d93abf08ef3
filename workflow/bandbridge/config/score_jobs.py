"""Which scores of an encoder on a data set are one job.

A job takes a second to start and some milliseconds to plan, and a data set with several nomenclatures has many scores
that read the same embeddings. They are one job, and a rule of their own; on any other data set each score is a job of
the kind's common rule. What a choice of alpha reads is a job by itself, so that no other change reruns the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bandbridge.config.evaluation import Evaluation
from bandbridge.config.lines import all_tasks, nomenclature_of


@dataclass(frozen=True)
class ScoreRule:
    """A rule of one kind of score.

    Attributes:
        name: what is added to the kind's name; empty for the common rule.
        dataset: a data set, or the wildcard of the common rule.
        datasets: those that the rule is for.
        parts: (nomenclature, prompt set) of each score that one of its jobs makes; wildcards in the common rule.
    """

    name: str
    dataset: str
    datasets: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]

    @property
    def nomenclatures(self) -> list[str]:
        return [nomenclature for nomenclature, _ in self.parts]

    @property
    def prompts(self) -> list[str]:
        return [prompts for _, prompts in self.parts]

    @property
    def label(self) -> str:
        """The parts in the name of a log: their wildcards, or that of the rule."""
        return ".".join(self.parts[0]) if len(self.parts) == 1 else self.name

    @property
    def of_dataset(self) -> dict[str, str]:
        """The argument that a rule of one data set adds to those of its wildcards."""
        return {"dataset": self.dataset} if self.name else {}

    @property
    def of_parts(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """The argument that a rule of several scores adds to those of its wildcards."""
        return {"parts": self.parts} if self.name else {}


def zero_shot_rules(scores: Evaluation) -> list[ScoreRule]:
    """The rules of zero-shot classification: what alpha is chosen by alone, the rest of a data set's scores at once."""
    run = scores.run
    chosen_by = {(task["dataset"], nomenclature_of(task), task["prompts"]) for task in all_tasks(run.config)}
    common, rules = [], []
    for dataset, prompt_sets in run.evaluated.items():
        every = [(nomenclature, prompts) for nomenclature in run.nomenclatures(dataset) for prompts in prompt_sets]
        rest = tuple(part for part in every if (dataset, *part) not in chosen_by)
        if len(rest) < 2:
            common.append(dataset)
            continue
        alone = [part for part in every if part not in rest]
        rules += [ScoreRule(f"{dataset}_task_{n}", dataset, (dataset,), (part,)) for n, part in enumerate(alone)]
        rules.append(ScoreRule(dataset, dataset, (dataset,), rest))
    return [*_common(common, "{prompts}"), *rules]


def rules_by_nomenclature(scores: Evaluation, datasets: Sequence[str] | None = None) -> list[ScoreRule]:
    """The rules of any other score that is made in every nomenclature: those of a data set at once.

    Args:
        scores: of the run.
        datasets: that have the score; all that are evaluated by default. Prompts are the data set's main ones.
    """
    run = scores.run
    scored = list(run.evaluated if datasets is None else datasets)
    several = [dataset for dataset in scored if len(run.nomenclatures(dataset)) > 1]
    rules = [
        ScoreRule(
            dataset,
            dataset,
            (dataset,),
            tuple((nomenclature, run.main_prompts(dataset)) for nomenclature in run.nomenclatures(dataset)),
        )
        for dataset in several
    ]
    return [*_common([dataset for dataset in scored if dataset not in several], "{prompts}"), *rules]


def _common(datasets: Sequence[str], prompts: str) -> list[ScoreRule]:
    return [ScoreRule("", "{dataset}", tuple(datasets), (("{nomenclature}", prompts),))] if datasets else []
