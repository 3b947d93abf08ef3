"""The folder of the package's data: beside the package in a clone, inside it when installed from a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# The folder of datasets/, nomenclatures/, schemas/ and the rest; config.yaml is in the folder above it.
WORKFLOW = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent
