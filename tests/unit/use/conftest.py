"""A small student and its CLIP, an image of its bands, and other files that people have."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from band_images import BANDS, OPTIONS, random_pixels, write_raster
from tiny import tiny_clip

from bandbridge.models.clip import save_clip
from bandbridge.models.students import BandStatistics, Student, StudentSpec, save_student


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of a run's folder as a model needs: a student, and the CLIP that it is aligned to."""
    run = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    spec = StudentSpec("vit_tiny_patch16_224", OPTIONS, BANDS, "standardise", 16)
    statistics = BandStatistics((2000.0,) * 5, (1100.0,) * 5)
    (run / "align" / "ms").mkdir(parents=True)
    save_student(run / "align/ms/model.safetensors", Student(spec, 8, statistics), "tiny", "float32")
    save_clip(tiny_clip(), run / "clip" / "tiny")
    return run


@pytest.fixture(scope="session")
def model(run_folder: Path):
    """The student, ready to use, with the classes and templates that a run would know."""
    from bandbridge.use.sources import load

    loaded = load(run_folder, device="cpu", precision="float32", batch_size=7)
    card = replace(
        loaded.card,
        classes=("forest", "water", "town"),
        prompts=(("a forest.",), ("water.",), ("a town.",)),
        templates=("a photo of {}.",),
        window=16,
        resolution=10,
        composite={"bands": ("B04", "B03", "B02"), "divisor": 3000.0},
        data={"title": "Made up", "licence": "none"},
        calibration={
            "kind": "softmax", "scale": 9.0, "bias": 0.0, "samples": 40, "dataset": "made_up", "split": "val",
            "ece": 0.1,
        },
    )  # fmt: skip
    loaded.card = card
    return loaded


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "scene.tif", random_pixels(), BANDS)
