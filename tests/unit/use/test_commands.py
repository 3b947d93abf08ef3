"""The commands: what they write, what they say, and how fast they answer."""

import csv
import subprocess
import sys

import geopandas
import numpy as np
import pytest
import rasterio
from band_images import BANDS, random_pixels, write_raster
from typer.testing import CliRunner

from bandbridge.base.errors import UserError
from bandbridge.use.cli import app


@pytest.fixture
def command(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(item).replace("MODEL", str(run_folder)) for item in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_classify_search_and_map_work_from_the_shell(command, scene, tmp_path):
    names = "forest, water, town"
    output = command("classify", "MODEL", scene, "--labels", names, "--top", 2, "--out", "labels.csv")
    assert "1 images labelled (cosine)" in output
    with open("labels.csv") as file:
        (row,) = csv.DictReader(file)
    assert {row["label"], row["label_2"]} <= {"forest", "water", "town"}
    assert float(row["cosine"]) >= float(row["cosine_2"])
    assert (round(float(row["lat"]), 2), round(float(row["lon"]), 2)) == (52.31, 12.07)

    command("embed", "MODEL", scene, "--window", 16, "--out", "a.parquet")
    listed = command("search", "a.parquet", "--text", "a lake", "--top", 2)
    assert len(listed.splitlines()) == 2
    command("search", "a.parquet", "--text", "a lake", "--not-text", "a town", "--top", 3, "--out", "hits.geojson")
    assert len(geopandas.read_file("hits.geojson")) == 3

    output = command("map", "MODEL", scene, "--labels", names, "--window", 16, "--stride", 8, "--out", "cover.tif")
    assert "km2" in output
    with rasterio.open("cover.tif") as file:
        assert file.shape == (40, 56)

    for ending in ("gpkg", "parquet"):
        command("classify", "MODEL", scene, "--labels", names, "--window", 16, "--out", f"windows.{ending}")
    assert len(geopandas.read_file("windows.gpkg")) == len(geopandas.read_parquet("windows.parquet")) == 12


def test_info_and_export_say_what_the_model_is(command, tmp_path):
    assert "B02, B03, B04, B08, B10, 16 x 16 pixels" in command("info", "MODEL")
    assert "my-model" in command("export", "MODEL", "my-model")
    assert '"kind": "student"' in command("info", "my-model", "--json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "MODEL", "scene.tif", "--labels", "water", "--out", "x.csv"], "only 'water'"),
        (["classify", "MODEL", "scene.tif", "--labels", "a,b", "--out", "x.txt"], "its ending decides the format"),
        (["classify", "MODEL", "none", "--labels", "a,b", "--out", "x.csv"], "none not found"),
        (["classify", "MODEL", "empty", "--labels", "a,b", "--out", "x.csv"], "no images found in it or below"),
        (["classify", "MODEL", "scene.tif", "--labels", "a,b", "--out", "x.csv", "--top", "0"], "--top is 0"),
        (["classify", "MODEL", "nowhere.tif", "--labels", "a,b", "--out", "x.gpkg"], "states no reference system"),
        (["map", "MODEL", "nowhere.tif", "--labels", "a,b", "--out", "x.tif"], "states no reference system"),
        (["map", "MODEL", "scene.tif", "--labels", "a,b", "--out", "x.tif", "--offset", "5"], "needs --scale"),
        (["classify", "MODEL", "scene.tif", "--labels", "a,b", "--out", "x.csv", "--stride", "8"], "needs --window"),
        (["embed", "MODEL", "scene.tif", "--out", "x.parquet", "--stride", "8"], "needs --window"),
        (["embed", "MODEL", "scene.tif", "--out", "x.parquet", "--precision", "bfloat"], "Did you mean 'bfloat16'"),
        (["embed", "MODEL", "scene.tif", "--out", "scene.tif/x.parquet"], "scene.tif is a file, expected a folder"),
        (["map", "MODEL", "scene.tif", "--labels", "a,b", "--out", "scene.tif/x.tif"], "expected a folder"),
        (["export", "MODEL", "scene.tif/x"], "scene.tif is a file, expected a folder"),
        (["classify", "MODEL", "x.npy", "--labels", "a,b", "--out", "x.csv"], "an array of NumPy"),
        (["map", "MODEL", "landsat.tif", "--labels", "a,b", "--out", "x.tif"], "another sensor"),
        (["search", "none.parquet", "--text", "x"], "not found; make an archive"),
        (["info", "nothing"], "no such file or folder"),
    ],
)
def test_wrong_input_gets_a_sentence(command, tmp_path, scene, arguments, message):
    write_raster(tmp_path / "nowhere.tif", random_pixels(), BANDS, crs=None)
    write_raster(tmp_path / "landsat.tif", random_pixels(2), ["SR_B2", "SR_B3"])
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "x.npy", random_pixels())
    with pytest.raises(UserError, match=message):
        command(*arguments)


@pytest.mark.slow
def test_an_error_is_one_paragraph_and_an_exit_code(tmp_path):
    arguments = [sys.executable, "-m", "bandbridge.use", "info", "nothing-there"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: MODEL is 'nothing-there'")
    assert "Traceback" not in done.stderr
