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
    flags = _stated("flags", cpuinfo) | _stated("Features", cpuinfo)
    return next((name for flag, name in BFLOAT16_FLAGS.items() if flag in flags), None)


def slower_in_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Why bfloat16 is slower than float32 on this processor: 'has no bfloat16 instructions'; None if it is faster.

    Intel's processors with AMX leave AVX512-BF16 half the speed of float32. Virtual machines on them may show the
    latter alone: benchmarks/README.md. Before them (Cooper Lake, without AVX512-FP16) it was the faster way.
    """
    instructions = bfloat16_instructions(cpuinfo)
    if instructions is None:
        return "has no bfloat16 instructions"
    made_for_amx = "GenuineIntel" in _stated("vendor_id", cpuinfo) and "avx512_fp16" in _stated("flags", cpuinfo)
    if made_for_amx and instructions == "AVX512-BF16":
        return "computes in bfloat16 by AVX512-BF16 without AMX, at half the speed of float32"
    return None


def _stated(key: str, cpuinfo: Path) -> set[str]:
    """The words that the system states of its first processor under a key."""
    try:
        lines = re.findall(rf"^{key}\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return set()
    return {word for line in lines[:1] for word in line.split()}


def slow_precision(configured: Iterable[str]) -> str | None:
    """A sentence if one of the configured precisions is slower than float32 on this CPU; None otherwise."""
    why = slower_in_bfloat16()
    if "bfloat16" not in configured or why is None:
        return None
    cost = "" if bfloat16_instructions() else " and takes about ten times as long as with 'float32'"
    return f"precision is 'bfloat16', but this CPU {why}{cost}; 'auto' chooses what is fast"


def slow_without_gpu(configured: Iterable[str], driver: Path = Path("/dev/nvidiactl")) -> str | None:
    """`slow_precision` for a machine whose jobs run on the CPU; None if `driver`, a GPU's device file, exists."""
    return None if driver.exists() else slow_precision(configured)
