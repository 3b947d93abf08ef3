"""Compare finished runs with the first of them: tables, changes with intervals, and differences of configuration."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.reporting.compare.page import write_comparison
from bandbridge.reporting.compare.runs import compare_runs


def main(runs: list[Path], page: Path) -> None:
    write_comparison(compare_runs(runs), page.parent)
    print(f"Compared: {page}")


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
