#!/bin/sh
# Prints the Python to make .venv with: $PYTHON if it is set, otherwise the newest that works.
# Each candidate is run, because a pyenv shim of a version that is not selected exists and fails.
VERSIONS="3.14 3.13 3.12 3.11"

# $1 -> nothing, or the reason why it cannot be used
unusable() {
    "$1" - "$VERSIONS" <<'PYTHON' 2>/dev/null || echo "does not run"
import os, shutil, sys, sysconfig

version = "%d.%d" % sys.version_info[:2]
if version not in sys.argv[1].split():
    print("is Python " + version)
elif sys.prefix == sys.base_prefix and shutil.which("uv") is None:
    try:
        import ensurepip, venv
    except ImportError:
        print("has no venv; on Debian: apt install python%s-venv" % version)
if version == "3.14":
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if shutil.which(os.environ.get("CC", "cc")) is None or not os.path.exists(header):
        print("needs a C compiler and Python.h: the package immutables has no wheel for 3.14 yet and is compiled")
PYTHON
}

candidates=${PYTHON:-$(printf 'python%s ' $VERSIONS)python3}
for python in $candidates; do
    if path=$(command -v "$python"); then
        reason="$path $(unusable "$path")"
    else
        path= reason="$python was not found"
    fi
    if [ "$reason" = "$path " ]; then
        echo "$path"
        exit 0
    fi
    reasons="$reasons
  $reason"
done
echo "BandBridge needs Python 3.11, 3.12, 3.13 or 3.14, with venv:$reasons
Install one, or name the path of one: make setup PYTHON=/path/to/python3.13" >&2
exit 1
