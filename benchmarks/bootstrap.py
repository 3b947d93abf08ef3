"""Half-samples of all classification metrics: all halves at once against scikit-learn, one after the other.

    python benchmarks/bootstrap.py                       125,000 samples, 43 classes; 100 resamples, and 3 of the peer
    python benchmarks/bootstrap.py --resamples 1000      as many as a run draws

Times are those of 1,000 resamples, by proportion where fewer were drawn; sorting and the like, which is done once, is
counted as it is. Each way runs in its own process, whose peak memory counts the scores, and gives the same values.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

DRAWN = 1_000
SEED = 0
KINDS = {
    "multi": "map, micro_map, macro_f1, micro_f1",
    "single": "accuracy, top5_accuracy, balanced_accuracy",
}

Data = tuple[np.ndarray, np.ndarray]


def scored(kind: str, samples: int, classes: int) -> Data:
    """Labels, three a sample or one, and scores that know something of them."""
    random = np.random.default_rng(SEED)
    if kind == "single":
        labels = random.integers(classes, size=samples)
        scores = random.normal(size=(samples, classes)) + 2 * (labels[:, None] == np.arange(classes))
    else:
        labels = (random.random((samples, classes)) < random.uniform(0.01, 6 / classes, classes)).astype(np.uint8)
        scores = random.normal(size=labels.shape) + labels
    return labels, scores.astype(np.float32)


def halves(samples: int, number: int) -> Iterator[np.ndarray]:
    """The samples of each half: a permutation's first half and its rest, in turns."""
    random = np.random.default_rng(SEED)
    for half in range(number):
        if half % 2 == 0:
            order = random.permutation(samples)
            yield order[: samples // 2]
        else:
            yield order[samples // 2 :]


# --- the ways ------------------------------------------------------------------------------------------------------


def by_bandbridge(kind: str, data: Data, resamples: int, threads: int) -> tuple[float, float, dict]:
    """Seconds once, seconds for the resamples, values by metric."""
    from bandbridge.metrics.classification import top_k_hits
    from bandbridge.metrics.half_samples import on_half_samples
    from bandbridge.metrics.intervals import estimate
    from bandbridge.metrics.neighbours import own_units
    from bandbridge.metrics.resampled import balanced_accuracy, f1, macro_map, mean_of, micro_map
    from bandbridge.metrics.thresholds import best_thresholds

    labels, scores = data
    start = time.perf_counter()
    if kind == "single":
        hits = scores.argmax(axis=1) == labels
        statistics = {
            "accuracy": mean_of(hits),
            "top5_accuracy": mean_of(top_k_hits(labels, scores, 5)),
            "balanced_accuracy": balanced_accuracy(labels, hits, scores.shape[1]),
        }
    else:
        thresholds = best_thresholds(labels, scores)
        statistics = {"map": macro_map(labels, scores), "micro_map": micro_map(labels, scores)}
        statistics |= f1(labels, scores, thresholds)
    ready, units = time.perf_counter(), own_units(len(labels))
    values = on_half_samples(statistics, units, resamples, SEED, threads)
    halved = time.perf_counter()
    for name, statistic in statistics.items():
        estimate(statistic, values[name], units)
    once = ready - start + time.perf_counter() - halved
    return once, halved - ready, {name: resampled.tolist() for name, resampled in values.items()}


def by_scikit_learn(kind: str, data: Data, resamples: int, threads: int) -> tuple[float, float, dict]:
    """The same values of the same resamples, by scikit-learn."""
    from sklearn import metrics

    from bandbridge.metrics.thresholds import best_thresholds

    labels, scores = data
    start = time.perf_counter()
    if kind == "single":
        predicted, classes = scores.argmax(axis=1), range(scores.shape[1])
        ways: dict[str, Callable] = {
            "accuracy": lambda row: metrics.accuracy_score(labels[row], predicted[row]),
            "top5_accuracy": lambda row: metrics.top_k_accuracy_score(labels[row], scores[row], k=5, labels=classes),
            "balanced_accuracy": lambda row: metrics.balanced_accuracy_score(labels[row], predicted[row]),
        }
    else:
        predicted = (scores >= best_thresholds(labels, scores)).astype(np.uint8)
        ways = {
            "map": lambda row: metrics.average_precision_score(labels[row], scores[row], average="macro"),
            "micro_map": lambda row: metrics.average_precision_score(labels[row], scores[row], average="micro"),
            "macro_f1": lambda row: metrics.f1_score(labels[row], predicted[row], average="macro"),
            "micro_f1": lambda row: metrics.f1_score(labels[row], predicted[row], average="micro"),
        }
    ready = time.perf_counter()
    rows = halves(len(labels), resamples)
    values = [{name: float(way(row)) for name, way in ways.items()} for row in rows]
    return ready - start, time.perf_counter() - ready, {name: [value[name] for value in values] for name in ways}


WAYS = {"BandBridge": by_bandbridge, "scikit-learn": by_scikit_learn}

# --- measuring -----------------------------------------------------------------------------------------------------


def measure(way: str, kind: str, samples: int, classes: int, resamples: int, threads: int) -> dict:
    """Run one way in its own process."""
    command = [sys.executable, __file__, "--way", way, "--kind", kind, "--samples", str(samples)]
    command += ["--classes", str(classes), "--resamples", str(resamples), "--threads", str(threads)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | one_thread, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def run_way(arguments: argparse.Namespace) -> None:
    data = scored(arguments.kind, arguments.samples, arguments.classes)
    once, seconds, values = WAYS[arguments.way](arguments.kind, data, arguments.resamples, arguments.threads)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    total = once + seconds * DRAWN / arguments.resamples
    print(json.dumps({"seconds": total, "megabytes": megabytes, "values": values}))


def compare(kind: str, arguments: argparse.Namespace) -> None:
    sizes = (arguments.samples, arguments.classes)
    peer = measure("scikit-learn", kind, *sizes, arguments.peer, 1)
    results = {"scikit-learn, one resample at a time": peer}
    for threads in sorted({1, arguments.threads}):
        ours = measure("BandBridge", kind, *sizes, arguments.resamples, threads)
        for name, values in peer["values"].items():
            shared = min(len(values), arguments.resamples)
            if not np.allclose(values[:shared], ours["values"][name][:shared], rtol=0, atol=1e-6):
                sys.exit(f"{name} differs from scikit-learn's")
        results[f"BandBridge, {threads} thread{'s' * (threads > 1)}"] = ours
    print(f"\n{arguments.samples:,} samples, {arguments.classes} classes, {kind} label: {KINDS[kind]}")
    print(f"({arguments.resamples:,} resamples drawn, {arguments.peer} with scikit-learn)\n")
    print("| way | seconds for 1,000 resamples | times as fast | peak memory, MB |\n|---|--:|--:|--:|")
    for name, facts in results.items():
        ratio = peer["seconds"] / facts["seconds"]
        print(f"| {name} | {facts['seconds']:,.0f} | {ratio:,.0f} | {facts['megabytes']:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=125_000)
    parser.add_argument("--classes", type=int, default=43)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--peer", type=int, default=3, help="resamples with scikit-learn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kind", choices=KINDS, help="only one of them")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_way(arguments)
        return
    for kind in [arguments.kind] if arguments.kind else KINDS:
        compare(kind, arguments)


if __name__ == "__main__":
    main()
