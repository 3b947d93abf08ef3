"""What the processor can do, without loading torch."""

import re
from collections.abc import Iterable
from pathlib import Path

# Flags of /proc/cpuinfo and the usual names of the instructions, fastest first.
BFLOAT16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "bf16": "Arm BF16"}


def bfloat16_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The processor's bfloat16 instructions ('AMX', 'AVX512-BF16', 'Arm BF16'); None if it has none.

    Without them torch emulates bfloat16, 13 times slower than float32 on a processor with only AVX2. Systems other
    than Linux count as having none: torch's builds for them do not use such instructions.
    """
    try:
        lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    flags = {flag for line in lines[:1] for flag in line.split()}
    return next((name for flag, name in BFLOAT16_FLAGS.items() if flag in flags), None)


def slow_precision(configured: Iterable[str]) -> str | None:
    """A sentence if this CPU only emulates one of the configured precisions; None otherwise."""
    if "bfloat16" not in configured or bfloat16_instructions():
        return None
    return (
        "precision is 'bfloat16', but this CPU has no bfloat16 instructions and takes about ten times as long as with "
        "'float32'; 'auto' chooses what is fast"
    )


def slow_without_gpu(configured: Iterable[str], driver: Path = Path("/dev/nvidiactl")) -> str | None:
    """`slow_precision` for a machine whose jobs run on the CPU; None if `driver`, a GPU's device file, exists."""
    return None if driver.exists() else slow_precision(configured)
