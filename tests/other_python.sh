#!/bin/sh
# Runs the unit tests on another Python, against the package as its users install it: sh tests/other_python.sh python3.13
# The environment (7 GB) is made in a temporary folder and removed at the end; further arguments are pytest's.
set -eu
cd "$(dirname "$0")/.."
python=$(PYTHON=${1:?name a Python, as in sh tests/other_python.sh python3.13} sh envs/find_python.sh)
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

echo "Installing the locked dependencies and the package for $("$python" --version) in $folder ..."
"$python" -m venv "$folder/venv"
here=$folder/venv/bin/python
"$here" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
# Not in place, and with its dependencies, which the locked ones have to satisfy.
"$here" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-index .

unset PYTHONPATH
(cd "$folder" && "$here" -c "
import bandbridge
from bandbridge.catalogue.datasets import load_dataset

print('bandbridge', bandbridge.__version__, 'is imported from', bandbridge.__file__)
print('and knows the data set', load_dataset('digits').title)
")
PATH="$folder/venv/bin:$PATH" "$here" -m pytest -q "$@" tests/unit
