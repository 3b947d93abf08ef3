#!/bin/sh
# Makes .venv with the versions of requirements.lock and, in place, this package: what `make setup` calls.
#   PYTHON=python3.13   with this Python; otherwise .venv's, or for a new one that of envs/find_python.sh
#   CPU=1               PyTorch for CPUs, from the index that pip or uv is configured for; CPU=0 switches back
# uv is used where it is installed.
set -eu
cd "$(dirname "$0")/.."
venv_python=.venv/bin/python
for_cpu=.venv/.cpu # exists if PyTorch is the one for CPUs

ask() { "$1" -c "import sys; print($2)" 2>/dev/null || true; }
version='"%d.%d" % sys.version_info[:2]'

if [ -z "${PYTHON:-}" ] && PYTHON=$venv_python sh envs/find_python.sh >/dev/null 2>&1; then
    PYTHON=$(ask $venv_python sys._base_executable)
fi
export PYTHON="${PYTHON:-}"
python=$(sh envs/find_python.sh)
old="$(ask $venv_python "$version") $(if [ -e $for_cpu ]; then echo 1; else echo 0; fi)"
cpu=${CPU:-${old#* }}
# Packages for another Python or another PyTorch would otherwise stay.
[ "$old" = "$(ask "$python" "$version") $cpu" ] || rm -rf .venv

size="7 GB, some minutes"
[ "$cpu" = 0 ] || size="PyTorch for CPUs"
echo "Installing the locked dependencies into .venv, with Python $(ask "$python" "$version") at $python ($size) ..."

if command -v uv >/dev/null; then
    # With pip, which downloads wheels of data.
    [ -e $venv_python ] || uv venv --quiet --seed --python "$python" .venv
    install() { uv pip install --quiet --python $venv_python "$@"; }
else
    [ -e $venv_python ] || "$python" -m venv .venv
    install() { $venv_python -m pip install --quiet --disable-pip-version-check --no-compile "$@"; }
fi

if [ "$cpu" = 0 ]; then
    # The lock is complete: nothing is left to resolve. Older pips would look for releases of dependencies with extras.
    install --no-deps --require-hashes --requirement requirements.lock
else
    # The lock has hashes of PyTorch's wheels for GPUs. Its version and the rest of the lock are kept.
    sed -nE 's/^(torch(vision)?==[^ ;]+).*/\1/p' requirements.lock >.venv/torch.txt
    awk -f envs/without_cuda.awk requirements.lock >.venv/rest.lock
    touch $for_cpu
    install --no-deps --requirement .venv/torch.txt
    if ! $venv_python -c '
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
# hatchling is in the lock, so the build downloads nothing.
install --no-deps --no-build-isolation --editable .
# On all cores, where pip would use one; what some packages bring for other versions of Python does not compile, or with
# warnings that the user can do nothing about.
$venv_python -W ignore -m compileall -qq -j 0 .venv/lib || true
