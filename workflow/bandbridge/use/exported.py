"""The folder of an exported student: what timm loads by itself, the linear layer, and what this package adds."""

import json
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum, read_json
from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.state_dicts import must_fit
from bandbridge.models.students import Student, StudentSpec
from bandbridge.models.weights import load_weights

TRUNK_FILE = "model.safetensors"  # timm's own name for it
PROJECTION_FILE = "projection.safetensors"
INPUT_FILE = "input.json"
TEXT_FOLDER = "text"


def load_exported_student(folder: Path) -> tuple[Student, str]:
    """The student of an exported folder, in eval mode on the CPU, and the SHA-256 of its weights.

    Raises:
        UserError: a file is missing, damaged or of another student.
    """
    for name in (TRUNK_FILE, PROJECTION_FILE, INPUT_FILE):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: {name} is missing; export the model again, or copy all of its folder.")
    described = _description(folder / INPUT_FILE)
    statistics = described["statistics"] and BandStatistics(
        **{key: tuple(v) for key, v in described["statistics"].items()}
    )
    student = Student(StudentSpec.from_config(described["student"]), described["embed_dim"], statistics)
    for part, file in ((student.trunk, TRUNK_FILE), (student.projection, PROJECTION_FILE)):
        state = load_weights(folder / file)
        must_fit(state, part.state_dict(), folder / file, f"the student ({student.spec.backbone}) of {INPUT_FILE}")
        part.load_state_dict(state)
    digest = "+".join(checksum(folder / name) for name in (TRUNK_FILE, PROJECTION_FILE))
    return student.eval(), digest


def _description(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(path)
        return {key: content[key] for key in ("student", "statistics", "embed_dim")}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); export the model again.") from error
