"""Hours of one core that conversion and scores take, by lines fitted through what was measured.

benchmarks/rehearsal.py measures conversion, benchmarks/scoring.py the scores; benchmarks/README.md has the figures, and
says on what they were measured.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bandbridge.config.evaluation import Evaluation
from bandbridge.config.run import Run

Sizes = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Cost:
    """Processor seconds of a job that scores: `fixed`, and `slope` for each unit of what it works through."""

    fixed: float
    slope: float


# Planning, converting and joining: of a data set, of each of its samples, and of each of their values (bands x pixels);
# through BigEarthNet v1 (5.0 ms a sample of 172,800 values) and SEN12MS (16.8 ms, 851,968 values).
PER_DATASET = 3.5
PER_SAMPLE = 2.0e-3
PER_VALUE = 1.73e-8
# Of a job, and of each table for what it works through (`work`): 19 classes, several a sample, embeddings of 512.
SCORES = {
    "zero-shot": Cost(1.2, 2.7e-4),
    "text-retrieval": Cost(1.3, 7.4e-5),
    "words": Cost(1.3, 7.4e-5),  # not measured: taken to be like text-retrieval
    "gap": Cost(0.6, 2.2e-4),
    "retrieval": Cost(3.0, 4.7e-8),
    "linear-probe": Cost(7.7, 1.1e-4),
    "few-shot": Cost(8.2, 9.9e-4),
    "knn": Cost(1.7, 1.48e-8),
}
SIDE = 224  # of pictures, which have no size of their own


def conversion(run: Run, sizes: Sizes) -> float:
    """Hours of planning, converting and joining the data sets of a run; `sizes` is data set -> split -> samples."""
    seconds = sum(
        PER_DATASET + sum(size.values()) * (PER_SAMPLE + values(run, dataset) * PER_VALUE)
        for dataset, size in sizes.items()
    )
    return seconds / 3600


def values(run: Run, dataset: str) -> int:
    """Values of a sample of a data set, all of its modalities together."""
    modalities = run.dataset(dataset).modalities
    return sum(len(modality.bands) * math.prod(modality.size or (SIDE, SIDE)) for modality in modalities)


def scoring(run: Run, sizes: Sizes) -> float:
    """Hours of all scores of one seed."""
    seconds = sum(
        count * SCORES[kind].fixed + tables * SCORES[kind].slope * work(kind, sizes.get(dataset, {}))
        for (kind, dataset), (count, tables) in jobs(run).items()
    )
    return seconds / 3600


def work(kind: str, size: Mapping[str, int]) -> float:
    """What a score's time is proportional to, from the samples of each split."""
    train, val, test = (size.get(split, 0) for split in ("train", "val", "test"))
    return {
        "retrieval": test**2,
        "knn": train * test,
        "linear-probe": train,
        "zero-shot": (val + test) / 2,  # as many of both were measured
    }.get(kind, test)


def jobs(run: Run) -> Mapping[tuple[str, str], tuple[int, int]]:
    """(kind, data set) -> jobs that score and tables that they write; a job writes those of all nomenclatures."""
    scores = Evaluation(run)
    counts: Counter[tuple[str, str]] = Counter()
    tables: Counter[tuple[str, str]] = Counter()
    for dataset in run.evaluated:
        encoders = scores.encoders_of(dataset)
        counts["zero-shot", dataset] += len(encoders)
        tables["zero-shot", dataset] += sum(len(scores.zero_shot(encoder, dataset)) for encoder in encoders)
        # The patched model is one at any alpha.
        for encoder in (*scores.shown_encoders(dataset), *(run.models_of(line)[-1] for line in run.patched.values())):
            kinds = Counter(kind for kind, *_ in scores.scores_of(encoder, dataset))
            counts.update((kind, dataset) for kind in kinds)
            tables.update({(kind, dataset): number for kind, number in kinds.items()})
    return {each: (counts[each], tables[each]) for each in counts}
