"""The demo over seeds and precisions: its headlines with p values, the precision of words, and its operations.

    python benchmarks/demo.py [--seeds 0 1 2] [--precisions float32 bfloat16] [--cores 2]

Each seed and precision is a run, results/demo-<precision>-<seed>/, of config.yaml; a finished run is only
read. Gains are paired bootstrap differences on test samples that do not overlap. Operations are counted on
models of the demo's size, times the samples of its stores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from bandbridge.base.alphas import alpha_name
from bandbridge.config.networks import student_facts
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.students import StudentSpec, new_student
from bandbridge.store.dataset import Store

ROOT = Path(__file__).parents[1]
STAGES = (("clip", "scratch"), ("finetune",), ("align",), ("embed",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    runs = {
        (precision, seed): run_demo(precision, seed, options.cores)
        for seed in options.seeds
        for precision in options.precisions
    }
    print(headlines(runs, config), words(runs, config), operations(config), sep="\n")


def run_demo(precision: str, seed: int, cores: int) -> pd.DataFrame:
    """The rows of metrics.csv of one run, which is made first if it is missing."""
    run = f"demo-{precision}-{seed}"
    overlay: dict[str, Any] = {"run": run, "seed": seed}
    for path in STAGES:
        inner = overlay
        for key in path:
            inner = inner.setdefault(key, {})
        inner["precision"] = precision
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(overlay, file)
        file.flush()
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--max-threads", "1", "--quiet", "all"]
        command += ["--configfile", file.name, "--", f"results/{run}/metrics.csv"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    return pd.read_csv(ROOT / "results" / run / "metrics.csv", keep_default_na=False)


def headlines(runs: dict[tuple[str, int], pd.DataFrame], config: dict[str, Any]) -> str:
    """One row per run: alpha, scores and gains in percent, p values of the gains, words before and after."""
    patching, supported = (config["tasks"][role] for role in ("patching", "supported"))
    lines = [
        "| precision | seed | alpha | digits | change | scene, zero-shot | patched | gain, p | student | gain, p "
        "| words: zero-shot, patched, student |",
        "|---|--:|--:|--:|--:|--:|--:|---|--:|---|---|",
    ]
    for (precision, seed), rows in runs.items():
        scores = rows[(rows["task"] == "zero-shot") & (rows["split"] == "test") & (rows["class"] == "")]
        scene = scores[(scores["dataset"] == patching["dataset"]) & (scores["prompts"] == patching["prompts"])]
        digits = scores[(scores["dataset"] == supported["dataset"]) & (scores["prompts"] == supported["prompts"])]
        clip, student = config["clip"]["name"], next(iter(config["align"]["students"]))
        alpha = selected(precision, seed)
        patched = f"{clip}@{alpha_name(alpha)}"
        before = value(digits, f"{clip}@0", "accuracy")
        change = value(digits, patched, "accuracy") - before
        cells = [precision, seed, alpha_name(alpha), f"{before:.1f}", f"{change:+.1f}"]
        metric = "balanced_accuracy"
        cells += [f"{value(scene, f'{clip}@0', metric):.1f}", f"{value(scene, patched, metric):.1f}"]
        cells += [gain(scene, patched, f"{metric}_gain"), f"{value(scene, student, metric):.1f}"]
        cells += [gain(scene, student, f"{metric}_gain_over_patched")]
        cells += [", ".join(f"{lift(rows, encoder, config):.1f}" for encoder in (f"{clip}@0", patched, student))]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def selected(precision: str, seed: int) -> float:
    (path,) = (ROOT / "results" / f"demo-{precision}-{seed}" / "paint").glob("*/selected.json")
    return float(yaml.safe_load(path.read_text(encoding="utf-8"))["alpha"])


def value(rows: pd.DataFrame, encoder: str, metric: str) -> float:
    """A score in percent."""
    (number,) = rows[(rows["encoder"] == encoder) & (rows["metric"] == metric)]["value"]
    return 100 * float(number)


def gain(rows: pd.DataFrame, encoder: str, metric: str) -> str:
    p = value(rows, encoder, f"{metric}_p") / 100
    return f"{value(rows, encoder, metric):+.1f}, {p:.4f}"


def lift(rows: pd.DataFrame, encoder: str, config: dict[str, Any]) -> float:
    """Precision of words among their nearest images, over the share of the class; NaN where none was scored."""
    asked = config["evaluate"]["words"]
    of_dataset = rows[(rows["task"] == "words") & (rows["dataset"] == next(iter(asked["datasets"])))]
    means = of_dataset[(of_dataset["encoder"] == encoder) & (of_dataset["class"] == "")]
    means = means[means["metric"] == f"lift@{asked['k']}"]
    return float(means["value"].iloc[0]) if len(means) else float("nan")


def words(runs: dict[tuple[str, int], pd.DataFrame], config: dict[str, Any]) -> str:
    """Precision among the images nearest to words other than class names, patched CLIP and student; means over runs."""
    asked = config["evaluate"]["words"]
    (dataset, by_class), k = next(iter(asked["datasets"].items())), asked["k"]
    student = next(iter(config["align"]["students"]))
    lines = [f"| class | word | patched, precision@{k} | student, precision@{k} |", "|---|---|--:|--:|"]
    lifts: dict[str, list[float]] = {"patched": [], student: []}
    precisions: dict[tuple[str, str], list[float]] = {}
    for (precision, seed), rows in runs.items():
        names = {"patched": f"{config['clip']['name']}@{selected(precision, seed):g}", student: student}
        of_dataset = rows[(rows["task"] == "words") & (rows["dataset"] == dataset)]
        for label, encoder in names.items():
            scores = of_dataset[of_dataset["encoder"] == encoder]
            of_words = scores[(scores["metric"] == f"precision@{k}") & (scores["class"] != "")]
            for word, number in zip(of_words["class"], of_words["value"], strict=True):
                precisions.setdefault((label, str(word)), []).append(float(number))
            lifts[label].append(lift(rows, encoder, config))
    for name, own_words in by_class.items():
        for word in own_words:
            cells = [f"{np.mean(precisions[label, word]):.2f}" for label in ("patched", student)]
            lines.append(f"| {name} | {word} | " + " | ".join(cells) + " |")
    means = [f"{np.mean(lifts[label]):.1f} ({min(lifts[label]):.1f} to {max(lifts[label]):.1f})" for label in lifts]
    return "\n".join([*lines, f"| | times the class's share, mean (range over runs) | {' | '.join(means)} |"]) + "\n"


def operations(config: dict[str, Any]) -> str:
    """Floating-point operations of the demo's models, a multiplication and an addition counted as two."""
    model = json.loads((ROOT / "workflow" / "clip_configs" / f"{config['clip']['name']}.json").read_text())
    side = model["vision_cfg"]["image_size"]
    visual = open_clip.CLIP(model["embed_dim"], model["vision_cfg"], {"layers": 1}).visual
    spec = StudentSpec.from_config(student_facts(config, next(iter(config["align"]["students"]))))
    neutral = BandStatistics((0.0,) * len(spec.bands), (1.0,) * len(spec.bands))
    teacher = counted(visual, torch.zeros(1, 3, side, side))
    bands = counted(
        new_student(spec, model["embed_dim"], neutral),
        torch.zeros(1, len(spec.bands), spec.image_size, spec.image_size),
    )
    stores = {
        name: Store(ROOT / "data" / "zarr" / f"{name}.zarr").attrs["counts"] for name in config["evaluate"]["datasets"]
    }
    digits, scene = stores[config["tasks"]["supported"]["dataset"]], stores[config["tasks"]["patching"]["dataset"]]
    alphas = len(config["paint"]["alphas"])
    evaluated = sum(counts["val"] + counts["test"] for counts in stores.values())
    stages = {
        "image encoder from scratch": 3 * teacher * digits["train"] * config["clip"]["scratch"]["epochs"],
        "fine-tuning": 3 * teacher * scene["train"] * config["finetune"]["epochs"],
        "alignment": (teacher + 3 * bands) * scene["train"] * config["align"]["epochs"],
        f"encoding, {alphas} alphas and the student": evaluated * (alphas * teacher + bands),
    }
    lines = ["| stage | TFLOP |", "|---|--:|", *(f"| {name} | {count / 1e12:.1f} |" for name, count in stages.items())]
    return "\n".join([*lines, f"| all | {sum(stages.values()) / 1e12:.1f} |"])


def counted(model: torch.nn.Module, values: torch.Tensor) -> int:
    """Operations of one forward pass; a backward pass has twice as many."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(values)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
