"""The development kit of ILSVRC 2012: which class each of the validation images shows."""

import re
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from bandbridge.base.errors import UserError
from bandbridge.ingest.archives import members

# What loadmat raises for a file that is not MATLAB's, or damaged, and what a wrong content of it leads to.
WRONG = (MatReadError, zlib.error, ValueError, TypeError, KeyError, IndexError, OSError, NotImplementedError)
TRUTH, CLASSES = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"


def validation_classes(path: Path) -> list[str]:
    """WordNet id of validation image 1, 2 ...; from the kit's archive or the folder it was unpacked to.

    Raises:
        UserError: the kit lacks one of its two files, or they are not what was published.
    """
    files = {Path(name).name: content for name, content in members(path, [f"*{TRUTH}", f"*{CLASSES}"])}
    missing = [name for name in (TRUTH, CLASSES) if name not in files]
    if missing:
        raise UserError(f"{path} holds no {' and no '.join(missing)}; expected ILSVRC 2012's devkit (Task 1 & 2)")
    try:
        wordnet_ids = _wordnet_ids(files[CLASSES])
        return [wordnet_ids[int(line)] for line in files[TRUTH].split()]
    except WRONG as error:
        raise UserError(f"{path}: {CLASSES} or {TRUTH} is not as published ({error}); download it again") from error


def _wordnet_ids(content: bytes) -> Mapping[int, str]:
    """ILSVRC's number of a class -> its WordNet id; numbers of inner nodes of the hierarchy are left out."""
    synsets = loadmat(BytesIO(content), squeeze_me=True, variable_names=["synsets"])["synsets"]
    rows = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], synsets["num_children"], strict=True)
    return {int(number): str(wordnet_id) for number, wordnet_id, children in rows if int(children) == 0}


def picture_number(stem: str) -> int | None:
    """42 of 'ILSVRC2012_val_00000042'; None for other names."""
    match = re.fullmatch(r"ILSVRC2012_val_(\d{8})", stem)
    return int(match[1]) if match else None
