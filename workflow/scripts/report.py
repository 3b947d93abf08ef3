"""Write the run's report: one self-contained HTML page."""

from pathlib import Path
from typing import Any

from bandbridge import job
from bandbridge.files import checksum
from bandbridge.metrics.rows import read_rows
from bandbridge.report import write_report
from bandbridge.tables import read_curves


def main(
    metrics: Path,
    curves: list[Path],
    selected: list[Path],
    histories: list[Path],
    stores: list[Path],
    quarantines: list[Path],
    tables: list[Path],
    benchmarks: list[Path],
    config: dict[str, Any],
    report: Path,
) -> None:
    write_report(
        report,
        config,
        read_rows([metrics]),
        read_curves(curves, selected),
        histories=histories,
        stores=[marker.parent for marker in stores],
        quarantines=quarantines,
        tables=tables,
        benchmarks=benchmarks,
        checksums={metrics.name: checksum(metrics)},
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
