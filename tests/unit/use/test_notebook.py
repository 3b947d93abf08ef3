"""The notebook of the documentation runs as it is."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from band_images import BANDS, random_pixels, write_raster
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[3] / "docs" / "use.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_from_a_clone_with_a_run(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "results" / "demo")
    for band, values in zip(BANDS, random_pixels(height=64, width=64), strict=True):
        write_raster(tmp_path / "scene" / f"T33UUU_{band}.tif", values[None])
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=dict(os.environ))
    (shape,) = [cell.outputs[-1].data["text/plain"] for cell in notebook.cells if "np.linalg.norm(emb" in cell.source]
    assert "(3, 8)" in shape
    assert {"cover.tif", "archive.parquet"} <= {path.name for path in tmp_path.iterdir()}
