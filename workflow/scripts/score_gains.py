"""What patching and alignment gain in zero-shot classification, with intervals and p values."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import read_json
from bandbridge.scoring.draws import load_draws
from bandbridge.scoring.gains import gain_rows, with_selected
from bandbridge.scoring.rows import write_rows


def main(
    draws: list[Path],
    selected: list[Path],
    references: dict,
    bootstrap: dict,
    metrics: Path,
    starts: dict | None = None,
) -> None:
    choices = [read_json(path) for path in selected]
    compared = with_selected(references, {choice["line"]: choice["alpha"] for choice in choices}, starts or {})
    write_rows(metrics, gain_rows([load_draws(path) for path in draws], compared, bootstrap["level"]))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
