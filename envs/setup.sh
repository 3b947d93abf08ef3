#!/bin/sh
# Makes .venv with the versions of requirements.lock and, in place, this package: what `make setup` calls.
#   PYTHON=python3.13   with this Python; otherwise .venv's, or for a new one what envs/find_python.sh finds
#   CPU=1               PyTorch for CPUs, from the index that pip or uv is configured for; CPU=0 is the other one again
# uv is used where it is installed.
set -eu
cd "$(dirname "$0")/.."
here=.venv/bin/python
for_cpu=.venv/.cpu # there if PyTorch is the one for CPUs

ask() { "$1" -c "import sys; print($2)" 2>/dev/null || true; }
version='"%d.%d" % sys.version_info[:2]'

if [ -z "${PYTHON:-}" ] && PYTHON=$here sh envs/find_python.sh >/dev/null 2>&1; then
    PYTHON=$(ask $here sys._base_executable)
fi
export PYTHON="${PYTHON:-}"
python=$(sh envs/find_python.sh)
old="$(ask $here "$version") $(if [ -e $for_cpu ]; then echo 1; else echo 0; fi)"
cpu=${CPU:-${old#* }}
# Packages for another Python or of another PyTorch would stay.
[ "$old" = "$(ask "$python" "$version") $cpu" ] || rm -rf .venv

size="7 GB, some minutes"
[ "$cpu" = 0 ] || size="PyTorch for CPUs"
echo "Installing the locked dependencies into .venv, with Python $(ask "$python" "$version") at $python ($size) ..."

if command -v uv >/dev/null; then
    # With pip, by which wheels of data are downloaded.
    [ -e $here ] || uv venv --quiet --seed --python "$python" .venv
    install() { uv pip install --quiet --python $here "$@"; }
else
    [ -e $here ] || "$python" -m venv .venv
    install() { $here -m pip install --quiet --disable-pip-version-check "$@"; }
fi

if [ "$cpu" = 0 ]; then
    install --require-hashes --requirement requirements.lock
else
    # The lock's hashes are of PyTorch's wheels for GPUs. Its version is kept, and the rest of the lock.
    sed -nE 's/^(torch(vision)?==[^ ;]+).*/\1/p' requirements.lock >.venv/torch.txt
    awk -f envs/without_cuda.awk requirements.lock >.venv/rest.lock
    touch $for_cpu
    install --no-deps --requirement .venv/torch.txt
    if ! $here -c '
import sys
from importlib.metadata import version

sys.exit(sys.platform == "linux" and "+cpu" not in version("torch"))
'; then
        rm -rf .venv
        echo "CPU=1 needs PyTorch's own package index; the one in use has PyTorch with CUDA. See docs/install.md, Without a GPU." >&2
        exit 1
    fi
    install --no-deps --require-hashes --requirement .venv/rest.lock
fi
# hatchling is in the lock: nothing is fetched to build it.
install --no-deps --no-build-isolation --editable .
