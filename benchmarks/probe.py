"""Linear probes: seconds and exactness of the two solvers, over a grid of four values of C.

    python benchmarks/probe.py          sets of several sizes, both solvers
    python benchmarks/probe.py large    300,000 samples of 512 dimensions and 43 classes, only torch

Samples are drawn from a normal distribution whose dimensions are correlated, labels from noisy linear scores. Seconds
are those of `fit_probe`: standardising, fitting, choosing C on a fifth as many validation samples. `gradient` is the
largest entry of the gradient of the mean loss at the solution, in float64: 0 at the minimum. The import of torch is
counted separately, since a process pays it once. A GPU is used where there is one.
"""

import subprocess
import sys
import time

import numpy as np
from scipy.special import expit, softmax

from bandbridge.catalogue.datasets import headline_metric
from bandbridge.metrics.probe import LARGE, SCIKIT_LEARN, Part, Probe, fit_probe
from bandbridge.metrics.resampled import headline_score
from bandbridge.scoring.probe_solver import TORCH

GRID = [0.01, 0.1, 1, 10]
SETS = [("single", 600, 128, 8), ("multi", 600, 128, 8), ("single", 2_000, 256, 8), ("multi", 2_000, 256, 8)]
SETS += [("single", 4_000, 512, 10), ("multi", 3_000, 256, 19)]
LARGE_SET = ("multi", 300_000, 512, 43)


def samples(kind: str, n: int, dim: int, classes: int, seed: int) -> Part:
    common, random = np.random.default_rng(0), np.random.default_rng(seed)
    mixing = (common.normal(size=(dim, dim)) / np.sqrt(1 + np.arange(dim))[:, None]).astype(np.float32)
    directions = (3 * common.normal(size=(dim, classes)) / np.sqrt(dim)).astype(np.float32)
    latent = random.standard_normal((n, dim), dtype=np.float32)
    scores = latent @ directions + random.normal(size=(n, classes))
    if kind == "single":
        return latent @ mixing, np.eye(classes, dtype=np.uint8)[scores.argmax(axis=1)]
    return latent @ mixing, (scores > np.linspace(0, 6, classes)).astype(np.uint8)  # from half the samples to few


def gradient_left(probe: Probe, train: Part, kind: str) -> float:
    scores = probe.scores(train[0])
    residual = (softmax(scores, axis=1) if kind == "single" else expit(scores)) - train[1]
    n = len(residual)
    of_weights = residual.T @ ((train[0] - probe.mean) / probe.deviation) / n + probe.weights / (probe.C * n)
    return float(max(np.abs(of_weights).max(), np.abs(residual.mean(axis=0)).max()))


def import_seconds(module: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


def main(sets: list[tuple[str, int, int, int]], solvers: list) -> None:
    warm_up = samples("multi", 200, 8, 3, seed=0)
    for solver in solvers:
        fit_probe(warm_up, warm_up, "multi", GRID, 1000, solver)
    print("| set | values / LARGE | solver | seconds | ratio | C | score on test | gradient |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    for kind, n, dim, classes in sets:
        train, validation, test = (
            samples(kind, size, dim, classes, seed) for seed, size in enumerate((n, n // 5, n // 5))
        )
        first = None
        for solver in solvers:
            start = time.perf_counter()
            probe = fit_probe(train, validation, kind, GRID, 1000, solver)
            seconds = time.perf_counter() - start
            first = first or seconds
            score = headline_score(headline_metric(kind), test[1], probe.scores(test[0]))
            name = f"{n:,} x {dim} x {classes}, {kind}"
            print(
                f"| {name} | {n * dim * classes / LARGE:.2f} | {solver.name} | {seconds:.2f} | {seconds / first:.2f} "
                f"| {probe.C:g} | {score:.4f} | {gradient_left(probe, train, kind):.0e} |",
                flush=True,
            )
    print(f"\nImport of torch: {import_seconds('torch'):.1f} s")


if __name__ == "__main__":
    if sys.argv[1:] == ["large"]:
        main([LARGE_SET], [TORCH])
    else:
        main(SETS, [SCIKIT_LEARN, TORCH])
