"""The doctor's estimate of what a run takes on a stated GPU, and on one core.

GPU time is multiply-adds times samples over the GPU's published peak, of which a stated share is assumed to be reached.
Processor time is by lines fitted through what was measured: benchmarks/rehearsal.py measures conversion,
benchmarks/scoring.py the scores; benchmarks/README.md has the figures, and says on what they were measured.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bandbridge.config.evaluation import Evaluation
from bandbridge.config.networks import align_recipe
from bandbridge.config.resources import UNKNOWN, clip_network, student_network
from bandbridge.config.run import Run
from bandbridge.config.seeds import seeds_of
from bandbridge.config.sizes import most_samples
from bandbridge.ops.checks import NOTE, Check, Checks

# Dense half-precision peaks by the makers' data sheets, in FLOP/s.
GPUS = {"V100": 125e12, "A100": 312e12, "H100": 989e12, "RTX 4090": 165e12}
DEFAULT_GPU = "A100"
# Of the peak: ViT-B-32 on an H100, bare steps and passes alike (benchmarks/README.md). Larger networks reach more.
REACHED = 0.1
FLOPS_PER_MULTIPLY_ADD = 2
FORWARD_AND_BACKWARD = 3
# Splits of data sets whose files do not state how many samples they have: official splits, without what is left out.
SAMPLES = {
    "bigearthnet_v1": {"train": 269_695, "val": 123_723, "test": 125_866},
    "sen12ms": {"train": 146_000, "val": 16_000, "test": 18_661},
    "imagenet": {"val": 10_000, "test": 40_000},
}
# Seconds of planning, converting and joining: of a data set, of each of its samples, and of each of their values (bands
# x pixels); through BigEarthNet v1 (5.0 ms a sample of 172,800 values) and SEN12MS (16.8 ms, 851,968 values).
PER_DATASET, PER_SAMPLE, PER_VALUE = 3.5, 2.0e-3, 1.73e-8
SIDE = 224  # of pictures, which have no size of their own
# Seconds of a job that scores, and of each of its tables for each unit of what it works through, which follows from the
# samples of each split; of 19 classes, several a sample, embeddings of 512.
SCORES: dict[str, tuple[float, float, Callable[[int, int, int], float]]] = {
    "zero-shot": (1.2, 2.7e-4, lambda train, val, test: (val + test) / 2),  # as many of both were measured
    "text-retrieval": (1.3, 7.4e-5, lambda train, val, test: test),
    "words": (1.3, 7.4e-5, lambda train, val, test: test),  # not measured: taken to be like text-retrieval
    "gap": (0.6, 2.2e-4, lambda train, val, test: test),
    "retrieval": (3.0, 4.7e-8, lambda train, val, test: test**2),
    "linear-probe": (7.7, 1.1e-4, lambda train, val, test: train),
    "few-shot": (8.2, 9.9e-4, lambda train, val, test: test),
    "knn": (1.7, 1.48e-8, lambda train, val, test: train * test),
}

# Data set -> split -> samples; without data sets of unknown size.
Sizes = Mapping[str, Mapping[str, int]]


def estimated(config: Mapping[str, Any], gpu: str | None = None) -> Checks:
    """The estimate as two lines."""
    gpu = gpu or DEFAULT_GPU
    if gpu not in GPUS:
        yield Check(NOTE, "time", f"the peak of '{gpu}' is not known", f"Known are {', '.join(GPUS)}")
        return
    run = Run(config)
    sizes = sizes_of(run)
    seeds = f", {len(seeds_of(config))} seeds" if len(seeds_of(config)) > 1 else ""
    unknown = ", ".join(dataset for dataset in run.datasets if dataset not in sizes)
    left_out = f"; not counted, because its size is unknown: {unknown}" if unknown else ""
    yield Check(
        NOTE,
        "time",
        f"estimate: {_stages(gpu_hours(run, sizes, gpu), f'one {gpu}')}{seeds}; {GPUS[gpu] / 1e12:.0f} TFLOP/s by its "
        f"data sheet, of which {REACHED:.0%} are assumed, where the processor and the disk feed it",
    )
    yield Check(
        NOTE,
        "time",
        f"estimate: {_stages(core_hours(run, sizes), 'one core')}, downloads aside, by lines through what was measured "
        f"at smaller sizes (benchmarks/README.md){left_out}",
    )


def _stages(hours: Mapping[str, float], of: str) -> str:
    """'1.2 h of one core (conversion 12 min, scores 1.0 h)'."""
    parts = ", ".join(f"{stage} {_hours(value)}" for stage, value in hours.items() if value)
    return f"{_hours(sum(hours.values()))} of {of} ({parts})"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else "under a minute"


def sizes_of(run: Run) -> Sizes:
    """The samples of a run's data sets by their files or `SAMPLES`; without data sets of which neither states them."""
    sizes = {}
    for name in run.datasets:
        facts = run.dataset(name)
        stated = {split: count for split in facts.splits if (count := most_samples(facts, split)) is not None}
        if size := stated or SAMPLES.get(name):
            sizes[name] = size
    return sizes


def gpu_hours(run: Run, sizes: Sizes, gpu: str = DEFAULT_GPU) -> dict[str, float]:
    """Stage -> hours of one GPU of `GPUS`, for all seeds."""
    operations = {"fine-tuning": 0.0, "alignment": 0.0, "encoding": float(_encoding(run, sizes))}
    for training in Evaluation(run).trainings():
        name = training["name"]
        if training["kind"] == "finetune":
            samples = sum(_train(sizes, dataset) for dataset in run.lines[name].datasets)
            epochs = int(run.config["finetune"]["epochs"])
            operations["fine-tuning"] += FORWARD_AND_BACKWARD * _clip(run, run.lines[name].clip) * epochs * samples
        elif training["kind"] == "align":
            student, clip = run.students[name]
            epochs, samples = int(align_recipe(run.config, student)["epochs"]), _train(sizes, run.taught)
            both = FORWARD_AND_BACKWARD * _student(run, name) + _clip(run, clip)
            operations["alignment"] += both * epochs * samples
    rate = GPUS[gpu] * REACHED / FLOPS_PER_MULTIPLY_ADD * 3600
    return {stage: len(seeds_of(run.config)) * number / rate for stage, number in operations.items()}


def _encoding(run: Run, sizes: Sizes) -> float:
    """Multiply-adds of all embeddings of one seed: val and test at every alpha, train where a probe learns from it."""
    probed = set((run.config["evaluate"]["linear_probe"] or {}).get("datasets", []))
    total = 0.0
    for dataset in run.evaluated:
        train = _train(sizes, dataset)
        scored = sum(sizes.get(dataset, {}).values()) - train
        for name, line in run.lines.items():
            if dataset in run.datasets_of(name):
                images = len(run.models_of(name)) * scored + 2 * train * (dataset in probed)
                total += images * _clip(run, line.clip)
        encoders = [*(_student(run, student) for student in run.students_of(dataset))]
        encoders += [UNKNOWN.operations for _ in run.others_of(dataset)]
        total += (scored + train) * sum(encoders)
    return total


def _train(sizes: Sizes, dataset: str) -> int:
    return sizes.get(dataset, {}).get("train", 0)


def _clip(run: Run, clip: str) -> float:
    return clip_network(run.clips[clip][0]).operations


def _student(run: Run, student: str) -> float:
    return student_network(run.student(student)).operations


def core_hours(run: Run, sizes: Sizes) -> dict[str, float]:
    """Stage -> hours of one core, for all seeds."""
    conversion = sum(
        PER_DATASET + sum(size.values()) * (PER_SAMPLE + PER_VALUE * values(run, dataset))
        for dataset, size in sizes.items()
    )
    scores = 0.0
    for kind, dataset, tables in score_jobs(run):
        of_job, of_unit, units = SCORES[kind]
        size = sizes.get(dataset, {})
        scores += of_job + tables * of_unit * units(*(size.get(split, 0) for split in ("train", "val", "test")))
    return {"conversion": conversion / 3600, "scores": len(seeds_of(run.config)) * scores / 3600}


def values(run: Run, dataset: str) -> int:
    """Values of a sample of a data set, all of its modalities together."""
    modalities = run.dataset(dataset).modalities
    return sum(len(modality.bands) * math.prod(modality.size or (SIDE, SIDE)) for modality in modalities)


def score_jobs(run: Run) -> Iterator[tuple[str, str, int]]:
    """(kind, data set, tables that it writes: those of all nomenclatures) of each job that scores."""
    scores = Evaluation(run)
    for dataset in run.evaluated:
        for encoder in scores.encoders_of(dataset):
            yield "zero-shot", dataset, len(scores.zero_shot(encoder, dataset))
        # The patched model is one at any alpha.
        for encoder in (*scores.shown_encoders(dataset), *(run.models_of(line)[-1] for line in run.patched.values())):
            tables = Counter(kind for kind, *_ in scores.scores_of(encoder, dataset))
            yield from ((kind, dataset, number) for kind, number in tables.items())
