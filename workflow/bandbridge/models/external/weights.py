"""The files with the weights of encoders other than our own, downloaded and checked. Needs no torch."""

from dataclasses import replace
from pathlib import Path

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum
from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.encoders import MARKER, NAMED_SHA256, EncoderFacts, must_be_pinned
from bandbridge.ingest.fetch import fetch


def bring_weights(facts: EncoderFacts, archives: Path) -> tuple[Path | None, list[dict[str, str]]]:
    """The file or directory with the weights (None where a library fetches them by tag), and what to note of it."""
    if facts.checkpoint is not None:
        path = Path(facts.checkpoint)
        if not path.exists():
            raise UserError(f"checkpoint is {path}, which is not there; give a local file, or leave checkpoint out.")
        if path.is_dir() and not (facts.kind == "open_clip" and facts.is_rgb):
            raise UserError(f"checkpoint is {path}, a directory; only an open_clip model of pictures may come as one.")
        return path, [{"file": str(path), **({"sha256": checksum(path)} if path.is_file() else {})}]
    source = facts.source
    if facts.kind == "torchgeo" and facts.tag:
        from bandbridge.models.external import (
            torchgeo as encoder_torchgeo,  # imports torch, which no other download needs
        )

        source = encoder_torchgeo.published(facts)
    if source is None:
        must_be_pinned(facts, archives)
        return None, [{"tag": f"{facts.architecture}.{facts.tag}"}]
    must_be_pinned(replace(facts, source=source), archives)
    path = fetch(source, archives)
    digest = checksum(path)
    _check_unpinned(source, path, digest)
    return path, [{"file": source.file, "sha256": digest}]


def _check_unpinned(source: Source, path: Path, digest: str) -> None:
    """What can be said of a file whose publisher states no checksum."""
    if source.sha256 or source.md5:
        return
    named = NAMED_SHA256.search(source.file)
    if named is None:
        print(
            f"Warning: nobody states a checksum of {source.file}; {MARKER} records the sha256 that it has, {digest}, "
            "and another file is refused from now on."
        )
    elif not digest.startswith(named[1]):
        raise UserError(
            f"{path}: sha256 is {digest}, but by its name it begins with {named[1]}. Delete it to download it again."
        )
