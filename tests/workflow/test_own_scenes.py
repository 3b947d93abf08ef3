"""Scenes as users have them, from their files to a report, with the data set files of docs/own-data.md as they are."""

import re
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pytest
import yaml
from clones import FEW_SCORES, FEW_STEPS, ROOT, Clone, make_clone
from own_scenes import CRS, LEFT, SIDE, TOP, noise, write_l2a, write_raster
from pages import Page
from shapely.geometry import box

from bandbridge.store.dataset import Store

pytestmark = pytest.mark.slow
DOCUMENT = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
CLASSES = ("311", "maize", "water")
# As Earth Engine calls the bands of COPERNICUS/S2_SR_HARMONIZED.
EARTH_ENGINE = [*(f"B{number}" for number in range(1, 9)), "B8A", "B9", "B11", "B12", "SCL", "QA60"]
STORE = "data/zarr/my_export.zarr"
# The made scenes are small: 192 x 192 pixels.
SMALL_SAMPLES = {"size": 16, "stride": 16, "block": 64}


def example(name: str) -> str:
    """The document's YAML file of this name, without the indentation of the list that it may stand in."""
    fenced = re.findall(r"^( *)```yaml\n(.*?)^ *```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    (text,) = (
        re.sub(rf"^{indent}", "", content, flags=re.MULTILINE)
        for indent, content in fenced
        if yaml.safe_load(content)["name"] == name
    )
    return text


def clone_with(folder: Path, *names: str) -> Clone:
    """A clone with data sets of the document: it patches on the first in few steps, and evaluates on all."""
    clone = make_clone(folder, warm=True)
    for kind, files in (("datasets", names), ("nomenclatures", ["my-classes"])):
        for file in files:
            (clone.root / "workflow" / kind / f"{file}.yaml").write_text(example(file), encoding="utf-8")
    evaluated = {name: ["plain"] for name in names}
    clone.configure({
        **FEW_STEPS,
        "run": "mine",
        "tasks": {"patching": {"dataset": names[0], "prompts": "plain"}},
        "datasets": dict.fromkeys(names, SMALL_SAMPLES),
        "evaluate": {"datasets": {**evaluated, "scene_crop": None}, **FEW_SCORES, "retrieval": {"label_map_k": 5}},
    })  # fmt: skip
    return clone


def write_fields(path: Path) -> None:
    """Polygons of a scene: strips from north to south as wide as a sample, so that each class is in each split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    strips = [box(LEFT + x, TOP - SIDE, LEFT + x + 160, TOP) for x in range(0, SIDE, 160)]
    cover = [CLASSES[number % 3] for number in range(len(strips))]
    fields = geopandas.GeoDataFrame({"cover": cover}, geometry=strips, crs=CRS)
    (fields.to_crs(4326) if path.suffix == ".geojson" else fields).to_file(path)


def must_be_reported(clone: Clone, name: str) -> None:
    """The scores of a data set's test split are whole, and it is in the report."""
    results = clone.root / "results" / "mine"
    metrics = pandas.read_csv(results / "metrics.csv")
    rows = metrics[(metrics["dataset"] == name) & (metrics["split"] == "test")]
    zero_shot = rows[(rows["task"] == "zero-shot") & (rows["metric"] == "map")]
    assert set(zero_shot["encoder"]) == {"demo-vit@0", "demo-vit@1", "ms-vit"}
    assert zero_shot["value"].between(0, 1).all()
    assert (zero_shot["n"] == 16).all()
    assert set(rows["task"]) == {"zero-shot", "retrieval"}
    page = Page((results / "report" / "index.html").read_text(encoding="utf-8"))
    assert not page.faults
    assert yaml.safe_load(example(name))["title"] in page.text


def samples(path: Path) -> dict[str, tuple[np.ndarray, ...]]:
    """Pixels, labels and names of each split of a store."""
    splits = {name: Store(path).split(name) for name in ("train", "val", "test")}
    return {name: (split.read(np.arange(len(split))), split.labels, split.ids) for name, split in splits.items()}


@pytest.mark.parametrize("name", ["my_product", "my_export"])
def test_the_files_of_the_document_are_short(name: str):
    assert len(example(name).splitlines()) < 15


def test_a_sentinel_2_product_and_an_export_of_earth_engine_become_a_report(tmp_path: Path):
    clone = clone_with(tmp_path, "my_product", "my_export")
    write_l2a(clone.root / "data/archives/my_product")
    write_fields(clone.root / "data/archives/my_product/fields.gpkg")
    folder = clone.root / "data/archives/my_export"
    write_fields(folder / "fields.geojson")
    pixels = noise(len(EARTH_ENGINE), SIDE // 10, seed=1)
    write_raster(folder / "export.tif", pixels, names=EARTH_ENGINE)
    assert {"plan", "finetune", "align", "report"} <= set(clone.run())
    must_be_reported(clone, "my_product")
    must_be_reported(clone, "my_export")
    whole = samples(clone.root / STORE)
    # A larger export comes in tiles.
    (folder / "export.tif").unlink()
    for row, column in ((0, 0), (0, 128), (128, 0), (128, 128)):
        tile = pixels[:, row : row + 128, column : column + 128]
        place = {"left": LEFT + 10 * column, "top": TOP - 10 * row}
        write_raster(folder / f"export-{row:010d}-{column:010d}.tif", tile, names=EARTH_ENGINE, **place)
    assert "convert" in clone.run(f"{STORE}/zarr.json")
    for name, arrays in samples(clone.root / STORE).items():
        assert all(np.array_equal(*pair) for pair in zip(arrays, whole[name], strict=True))
