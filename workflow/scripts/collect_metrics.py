"""Merge every partial table of a run into one."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.rows import merge_rows


def main(zero_shot: list[Path], tables: list[Path], chosen: list[Path], gains: Path, table: Path) -> None:
    merge_rows([*zero_shot, *tables, *chosen, gains], table)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
