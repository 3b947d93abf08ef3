"""A run with several seeds, from nothing to its mean and deviation."""

import csv
import re

import pytest
from clones import FEW_SCORES, Clone

# A part of what the finished run has scored.
EVALUATE = {name: value for name, value in FEW_SCORES.items() if name != "linear_probe"}
EVALUATE["datasets"] = {"scene_crop": ["plain"], "digits": None}
FEWER = {"evaluate": EVALUATE, "prompts": {"mine": None}}


@pytest.mark.slow
def test_seeds_end_in_their_mean_and_each_is_the_run_of_this_seed_alone(finished_run: Clone, copied_run: Clone):
    with (finished_run.root / "results/small/metrics.csv").open(newline="") as file:
        alone = list(csv.DictReader(file))
    copied_run.configure({"seeds": [0, 1], **FEWER})
    # The page of all seeds, and the report of one.
    targets = ("results/small/seeds/index.html", "results/small/seed-1/report/index.html")
    ran = copied_run.run(*targets)
    assert not {"download", "plan", "convert", "preprocess"} & set(ran)
    results = copied_run.root / "results/small"
    with (results / "seeds/seeds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {}
    for seed in (0, 1):
        with (results / f"seed-{seed}/metrics.csv").open(newline="") as file:
            metrics = list(csv.DictReader(file))
            assert metrics
            assert all(row in alone for row in metrics) == (seed == 0)
            for row in metrics:
                if row["encoder"] == "ms-vit" and row["task"] == "linear-probe" and not row["class"]:
                    values.setdefault((row["metric"], row["split"]), []).append(float(row["value"]))
    probes = [row for row in rows if row["model"] == "Aligned (ms-vit)" and row["task"] == "linear-probe"]
    assert probes
    for row in probes:
        assert row["seeds"] == "0 1"
        assert float(row["mean"]) == pytest.approx(sum(values[row["metric"], row["split"]]) / 2)
    assert {"index.html", "seeds.md", "seeds.tex"} <= {path.name for path in (results / "seeds").iterdir()}
    assert copied_run.jobs(*targets) == []
    copied_run.configure({"seeds": [0, 1, 2], **FEWER})
    added = copied_run.snakemake("--dry-run").stdout
    # Tables and report; a report shows its run's configuration, in which the list of seeds stands.
    assert re.search(r"; seed 0 adds 2, seed 1 adds 2, seed 2 adds \d\d\.", added), added
    planned = copied_run.jobs()
    assert (planned.count("report"), planned.count("finetune"), planned.count("align")) == (3, 1, 1)
