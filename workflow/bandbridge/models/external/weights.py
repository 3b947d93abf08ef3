"""Files of published encoders' weights, downloaded and checked. Needs no torch."""

from dataclasses import replace
from pathlib import Path

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum
from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.encoders import MARKER, NAMED_SHA256, EncoderFacts, must_be_pinned
from bandbridge.ingest.fetch import fetch


def bring_weights(facts: EncoderFacts, archives: Path) -> tuple[Path | None, list[dict[str, str]]]:
    """Download the weights of an encoder, or take its local checkpoint.

    Returns:
        The file or directory with the weights (None if a library fetches them by tag), and a record of its origin.
    """
    if facts.checkpoint is not None:
        path = Path(facts.checkpoint)
        if not path.exists():
            raise UserError(f"checkpoint is {path}, which does not exist; set it to a local file, or omit it.")
        if path.is_dir() and not (facts.kind == "open_clip" and facts.is_rgb):
            raise UserError(f"checkpoint is {path}, a directory; only an open_clip model of RGB images may be one.")
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
    """Check a file without a published checksum by its name, or print a warning."""
    if source.sha256 or source.md5:
        return
    named = NAMED_SHA256.search(source.file)
    if named is None:
        print(
            f"Warning: there is no published checksum of {source.file}; {MARKER} records its sha256, {digest}, "
            "and any other file is refused from now on."
        )
    elif not digest.startswith(named[1]):
        raise UserError(
            f"{path}: sha256 is {digest}, but by its name it begins with {named[1]}. Delete it to download it again."
        )
