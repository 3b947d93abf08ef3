"""What starts often, or on the login node of a cluster, imports nothing that takes seconds or much memory."""

import subprocess
import sys

import pytest

NUMERIC = {"torch", "pandas", "sklearn"}
# What imports these modules -> the modules, of bandbridge, and packages that they do without.
LIGHT = {
    "a plan": ("config.checks catalogue.datasets ingest.fetch base.runlock", NUMERIC | {"zarr"}),
    "a score": ("scoring.zero_shot scoring.curve scoring.selection", NUMERIC),
    "a score of neighbours": ("scoring.retrieval scoring.gap scoring.knn", NUMERIC),
    "the report": ("store.heads reporting.page.write", {"torch"}),
    "bandbridge --help": ("use.cli", {"torch", "pandas", "rasterio", "pyarrow", "scipy", "zarr"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", LIGHT)
def test_it_starts_without_what_takes_seconds_to_import(what: str):
    modules, heavy = LIGHT[what]
    code = f"import sys, {', '.join(f'bandbridge.{name}' for name in modules.split())}; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy & set(imported) == set()
