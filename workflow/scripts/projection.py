"""Project the embedding space before and after patching and alignment to two axes, as a JSON file for the report."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import write_json
from bandbridge.reporting.galleries import read_labels
from bandbridge.reporting.projection import make_projection
from bandbridge.store.embeddings import load_embeddings
from bandbridge.store.heads import load_head


def main(
    zero_shot: Path,
    patched: Path,
    head: Path,
    store: Path,
    nomenclature: str,
    seed: int,
    projection: Path,
    multispectral: list[Path] = [],  # noqa: B006 (empty where the subject is a CLIP)
) -> None:
    before = load_embeddings(zero_shot.parent)
    student = load_embeddings(multispectral[0].parent) if multispectral else None
    labels = read_labels(store.parent, nomenclature, before.attrs["split"])
    made = make_projection(before, load_embeddings(patched.parent), student, load_head(head), labels, seed)
    write_json(projection, made)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
