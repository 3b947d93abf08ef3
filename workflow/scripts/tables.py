"""Write the run's tables that have rows, each as CSV, Markdown and LaTeX."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.curves import read_curves
from bandbridge.reporting.tables.formats import write_tables
from bandbridge.scoring.rows import read_rows


def main(
    metrics: Path,
    curves: list[Path],
    selected: list[Path],
    tables: Path,
    students: dict | None = None,
    look: dict | None = None,
    words: dict | None = None,
    notes: list | None = None,
    patched: list | None = None,
) -> None:
    views = {"students": students, "words": words, "notes": notes or (), "patched": patched or (), **(look or {})}
    by_name = all_tables(read_rows([metrics]), read_curves(curves, selected), **views)
    write_tables(by_name.values(), tables)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
