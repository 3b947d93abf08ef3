"""What an error names is where it says, after the run that failed."""

import re
from pathlib import Path

import numpy as np
import yaml
from clones import Clone
from PIL import Image

CLASSES = ("forest", "farm", "water")
DATASET = {
    "name": "own",
    "title": "A folder of pictures",
    "reader": "folder",
    "modalities": {"rgb": {"bands": ["red", "green", "blue"]}},
    "labels": {"kind": "single", "nomenclatures": ["own-3"]},
    "sources": [],
    "licence": "none",
    "options": {"images": "*.png", "shares": {"val": 0.25, "test": 0.25}},
}


def test_the_quarantine_list_of_a_failed_run_is_there_and_the_error_gives_every_reason(clone: Clone):
    root = clone.root / "data" / "archives" / "own"
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(root / name / f"{name}_{number}.png")
    (root / "forest" / "forest_1.png").write_bytes(b"no picture")
    for number in (2, 3):
        Image.new("RGB", (8, 8)).save(root / "farm" / f"farm_{number}.png")
    workflow = clone.root / "workflow"
    (workflow / "datasets" / "own.yaml").write_text(yaml.safe_dump(DATASET))
    nomenclature = {"name": "own-3", "title": "Three", "classes": list(CLASSES)}
    (workflow / "nomenclatures" / "own-3.yaml").write_text(yaml.safe_dump(nomenclature))
    clone.configure({"evaluate": {"datasets": {"own": ["plain"]}}})
    completed = clone.snakemake("--cores", "1", "data/zarr/own.zarr/zarr.json")
    assert completed.returncode != 0
    assert "3 of 24 samples are in quarantine" in completed.stderr, completed.stderr
    assert re.search(r"^ +2 +every pixel is 0 \(for example farm_[23]\)$", completed.stderr, re.MULTILINE)
    unreadable = r"^ +1 +cannot be read as an image: it is none of [A-Z0-9, ]+ \(for example forest_1\)$"
    assert re.search(unreadable, completed.stderr, re.MULTILINE)
    listed = Path(re.search(r"All of them: (\S+)\. ", completed.stderr)[1])
    assert len((clone.root / listed).read_text().splitlines()) == 1 + 3
