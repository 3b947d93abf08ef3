"""An estimate of what a run takes on a stated GPU, and on one core: `make doctor` prints it, marked as an estimate.

GPU time is multiply-adds times samples over the GPU's published peak, of which a stated share is assumed to be reached.
Processor time is that of `core_hours`, by lines through what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bandbridge.config.networks import align_recipe, fine_tunes, student_files
from bandbridge.config.resources import UNKNOWN, clip_network, student_network
from bandbridge.config.run import Run
from bandbridge.config.seeds import seeds_of
from bandbridge.config.sizes import most_samples
from bandbridge.ops.doctor import core_hours
from bandbridge.ops.doctor.machine import NOTE, Check, Checks

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


@dataclass
class Estimate:
    """Hours of one GPU and of one core by stage, for all seeds; `unknown` are data sets without a stated size."""

    gpu: dict[str, float] = field(default_factory=dict)
    core: dict[str, float] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def estimate(config: Mapping[str, Any], gpu: str = DEFAULT_GPU) -> Estimate:
    """What a run takes.

    Args:
        config: a valid configuration.
        gpu: one of `GPUS`.
    """
    run, seeds = Run(config), len(seeds_of(config))
    sizes = {dataset: size for dataset in run.datasets if (size := samples_of(run, dataset))}
    rate = GPUS[gpu] * REACHED / FLOPS_PER_MULTIPLY_ADD * 3600
    stages = {
        "fine-tuning": seeds * _finetuning(run, sizes) / rate,
        "alignment": seeds * _aligning(run, sizes) / rate,
        "encoding": seeds * _encoding(run, sizes) / rate,
    }
    core = {
        "conversion": core_hours.conversion(run, sizes),
        "scores": seeds * core_hours.scoring(run, sizes),
    }
    return Estimate(stages, core, [dataset for dataset in run.datasets if dataset not in sizes])


def samples_of(run: Run, dataset: str) -> dict[str, int]:
    """Split -> samples, by the data set's file or `SAMPLES`; empty where neither states them."""
    facts = run.dataset(dataset)
    stated = {split: count for split in facts.splits if (count := most_samples(facts, split)) is not None}
    return stated or dict(SAMPLES.get(dataset, {}))


def _train(sizes: Mapping[str, Mapping[str, int]], dataset: str) -> int:
    return sizes.get(dataset, {}).get("train", 0)


def _scored(sizes: Mapping[str, Mapping[str, int]], dataset: str) -> int:
    return sum(count for split, count in sizes.get(dataset, {}).items() if split != "train")


def _finetuning(run: Run, sizes: Mapping[str, Mapping[str, int]]) -> float:
    """Multiply-adds of all fine-tunings of one seed."""
    if not fine_tunes(run.config):
        return 0.0
    epochs = int(run.config["finetune"]["epochs"])
    return sum(
        FORWARD_AND_BACKWARD
        * clip_network(run.clips[line.clip][0]).operations
        * epochs
        * sum(_train(sizes, dataset) for dataset in line.datasets)
        for line in run.lines.values()
        if not line.parts
    )


def _aligning(run: Run, sizes: Mapping[str, Mapping[str, int]]) -> float:
    """Multiply-adds of all alignments of one seed, their teacher's among them."""
    by_file = student_files(run.config)
    return sum(
        (FORWARD_AND_BACKWARD * _student(run, student) + clip_network(run.clips[clip][0]).operations)
        * int(align_recipe(run.config, name)["epochs"])
        * _train(sizes, run.taught)
        for student, (name, clip) in run.students.items()
        if name not in by_file
    )


def _encoding(run: Run, sizes: Mapping[str, Mapping[str, int]]) -> float:
    """Multiply-adds of all embeddings of one seed: val and test at every alpha, train where a probe learns from it."""
    probed = set((run.config["evaluate"]["linear_probe"] or {}).get("datasets", []))
    total = 0.0
    for dataset in run.evaluated:
        train = _train(sizes, dataset)
        for name, line in run.lines.items():
            if dataset in run.datasets_of(name):
                images = len(run.models_of(name)) * _scored(sizes, dataset) + 2 * train * (dataset in probed)
                total += images * clip_network(run.clips[line.clip][0]).operations
        each = _scored(sizes, dataset) + train
        total += each * sum(_student(run, student) for student in run.students_of(dataset))
        total += each * UNKNOWN.operations * len(run.others_of(dataset))
    return total


def _student(run: Run, student: str) -> float:
    return student_network(run.student(student)).operations


def estimated(config: Mapping[str, Any], gpu: str | None = None) -> Checks:
    """The estimate as two lines."""
    gpu = gpu or DEFAULT_GPU
    if gpu not in GPUS:
        yield Check(NOTE, "time", f"the peak of '{gpu}' is not known", f"Known are {', '.join(GPUS)}")
        return
    expected = estimate(config, gpu)
    what = f"estimate: {_hours(sum(expected.gpu.values()))} of one {gpu} ({', '.join(_parts(expected.gpu))})"
    share = (
        f"{GPUS[gpu] / 1e12:.0f} TFLOP/s by its data sheet, of which {REACHED:.0%} are assumed, where the "
        "processor and the disk feed it"
    )
    seeds = len(seeds_of(config))
    seeds_text = f", {seeds} seeds" if seeds > 1 else ""
    yield Check(NOTE, "time", f"{what}{seeds_text}; {share}")
    left_out = f"; not counted, because its size is unknown: {', '.join(expected.unknown)}" if expected.unknown else ""
    yield Check(
        NOTE,
        "time",
        f"estimate: {_hours(sum(expected.core.values()))} of one core "
        f"({', '.join(_parts(expected.core))}), downloads aside, by lines through what was measured at smaller sizes "
        f"(benchmarks/README.md){left_out}",
    )


def _parts(hours: Mapping[str, float]) -> Iterator[str]:
    return (f"{stage} {_hours(value)}" for stage, value in hours.items() if value)


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else "under a minute"
