"""A finished run's models, in use, do as its report says."""

import csv

import numpy as np
import pytest

import bandbridge
from bandbridge.metrics.classification import average_precision, mean_of_defined
from bandbridge.store.dataset import Store


@pytest.mark.parametrize(
    ("model", "encoder"), [("align/ms-vit", "ms-vit"), ("paint/demo-vit.scene_crop", "demo-vit@0.5")]
)
def test_a_runs_models_classify_as_its_table_says(finished_run, model, encoder):
    run = finished_run.root / "results/small"
    loaded = bandbridge.load(run / model, device="cpu", precision="float32")
    store = Store(finished_run.root / "data/zarr/scene_crop.zarr")
    test = store.split("test")
    labelled = loaded.classify(test.read(np.arange(len(test))), bands=store.bands)
    assert (labelled.names, labelled.measure) == (store.classes, "probability")
    with (run / "metrics.csv").open() as file:
        (stated,) = [
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["encoder"], row["dataset"], row["split"], row["task"])
            == (encoder, "scene_crop", "test", "zero-shot")
            and (row["prompts"], row["metric"], row["class"]) == ("plain", "map", "")
        ]
    # The run's embeddings are rounded to half precision on machines that compute in it; rare classes have few samples.
    assert mean_of_defined(average_precision(test.labels, labelled.scores)) == pytest.approx(stated, abs=0.03)
    card = loaded.card
    assert (card.units, card.resolution, card.alpha) == ("reflectance x 10000", 10, 0.5)
    assert card.data["dataset"] == "scene_crop"
    assert any(row["dataset"] == "scene_crop" for row in card.scores)
