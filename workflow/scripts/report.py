"""Write the run's report: one self-contained HTML page, and its figures as files beside it."""

from pathlib import Path
from typing import Any

import yaml

from bandbridge.base import script as job
from bandbridge.base.files import checksum, whole_file
from bandbridge.reporting.page.write import RunFiles, write_report
from bandbridge.reporting.tables.curves import read_curves
from bandbridge.reporting.tables.formats import table_files
from bandbridge.scoring.rows import read_rows


def main(
    metrics: Path,
    curves: list[Path],
    selected: list[Path],
    trainings: list,
    stores: list[Path],
    quarantines: list[Path],
    tables: Path,
    benchmarks: list[Path],
    config: dict[str, Any],
    report: Path,
    galleries: list[Path] = [],  # noqa: B006 (read, never written)
    projections: list[Path] = [],  # noqa: B006
    threads: int = 1,
    settings: Path | None = None,
    clips: list[Path] = [],  # noqa: B006
    samples: list[Path] = [],  # noqa: B006
    notes: list | None = None,
    maps: list[Path] = [],  # noqa: B006
) -> None:
    if settings is not None:
        with whole_file(settings) as part:
            part.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    sources = {metrics.name: metrics}
    sources |= {f"{path.parent.name}/{path.name}": path for path in (*curves, *selected)}
    files = RunFiles(
        trainings=trainings,
        stores=[marker.parent for marker in stores],
        quarantines=quarantines,
        tables=table_files(tables),
        benchmarks=benchmarks,
        galleries=galleries,
        projections=projections,
        maps=maps,
        noted=[*samples, *clips, *(Path(training["history"]) for training in trainings)],
        checksums={name: checksum(path) for name, path in sources.items()},
    )
    write_report(
        report,
        config,
        read_rows([metrics]),
        read_curves(curves, selected),
        files,
        figures=report.parent / "figures",
        processes=threads,
        notes=notes or (),
    )


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
