"""Load the weights that a student starts from, to detect early that they do not fit."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import write_json
from bandbridge.models.students import StudentSpec, first_weights_report


def main(student: dict, report: Path) -> None:
    write_json(report, {"loaded": first_weights_report(StudentSpec.from_config(student))})


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
