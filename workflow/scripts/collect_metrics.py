"""Put every partial table of a run into one."""

from pathlib import Path

from bandbridge import job
from bandbridge.metrics.rows import merge_rows


def main(metrics: list[Path], chosen: list[Path], table: Path) -> None:
    merge_rows(metrics + chosen, table)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
