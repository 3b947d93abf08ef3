"""Take an aligned student from a file, in the form that an alignment leaves."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import read_json
from bandbridge.models.students import StudentSpec, save_student
from bandbridge.use.by_file import student_by_file


def main(clip: Path, source: Path, name: str, student: dict, space: str, weights: Path) -> None:
    width = read_json(clip)["model_cfg"]["embed_dim"]
    loaded, precision = student_by_file(source, StudentSpec.from_config(student), width, f"align.students.{name}")
    save_student(weights, loaded, space, precision)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
