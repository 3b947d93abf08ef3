"""Choose alpha on validation scores; write the curve and the choice with its reason."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import write_json
from bandbridge.base.progress import remark
from bandbridge.scoring.curve import read_curve, write_curve
from bandbridge.scoring.rows import read_rows
from bandbridge.scoring.selection import select_alpha


def main(
    metrics: list[Path],
    line: str,
    alphas: list,
    patching: list,
    supported: list,
    select: dict,
    curve: Path,
    selected: Path,
) -> None:
    points, kept = read_curve(read_rows(metrics), [float(alpha) for alpha in alphas], patching, supported)
    alpha, reason = select_alpha(
        alphas=[point.alpha for point in points],
        patching=[point.patching_val for point in points],
        supported=kept,
        criterion=select["criterion"],
        max_loss=select["max_loss"],
        fixed=select["alpha"],
    )
    remark(reason)
    write_curve(curve, points, alpha)
    of_line = {"line": line, "datasets": [task["dataset"] for task in patching]}
    write_json(selected, {**of_line, "alpha": alpha, "criterion": select["criterion"], "reason": reason})


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
