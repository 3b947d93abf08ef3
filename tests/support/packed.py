"""Files in a folder or an archive of any kind."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

TAR_MODES = {".tar": "w", ".zst": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}


def pack(path: Path, files: Mapping[str, bytes], *more: tarfile.TarInfo) -> Path:
    """A zip or a tar if the path has the ending of one (`more` are a tar's members without content), or a folder."""
    if path.suffix in (".zip", ".whl"):
        path.write_bytes(zipped(files))
    elif path.suffix in TAR_MODES:
        packed = tar(files, TAR_MODES[path.suffix], more)
        path.write_bytes(zstandard.compress(packed) if path.suffix == ".zst" else packed)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def tar(files: Mapping[str, bytes], mode: str = "w", more: tuple[tarfile.TarInfo, ...] = (), **options) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode, **options) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return data.getvalue()
