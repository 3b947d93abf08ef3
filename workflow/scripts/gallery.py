"""Write galleries of retrieval: queries with their nearest samples, as thumbnails in a JSON file for the report."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import write_json
from bandbridge.reporting.galleries import make_gallery
from bandbridge.store.embeddings import load_embeddings
from bandbridge.store.heads import load_head, load_words


def main(
    rgb: Path,
    store: Path,
    nomenclature: str,
    seed: int,
    gallery: Path,
    multispectral: list[Path] = [],  # noqa: B006 (empty where the subject is a CLIP)
    head: Path | None = None,
    words_head: Path | None = None,
    words: dict | None = None,
) -> None:
    student = load_embeddings(multispectral[0].parent) if multispectral else None
    names = load_head(head) if head else None
    others = load_words(words_head, words) if words_head and words else None
    made = make_gallery(store.parent, nomenclature, load_embeddings(rgb.parent), student, names, seed, others)
    write_json(gallery, made)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
