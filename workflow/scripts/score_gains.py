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
    # selected.json is in a folder <line>.<data sets>.
    alphas = {path.parent.name.rpartition(".")[0]: read_json(path)["alpha"] for path in selected}
    compared = with_selected(references, alphas, starts or {})
    write_rows(metrics, gain_rows([load_draws(path) for path in draws], compared, bootstrap["level"]))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
