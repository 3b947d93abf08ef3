"""Check that a data set has as many samples as its scores need, before anything is trained."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import write_json
from bandbridge.base.progress import remark
from bandbridge.store.sample_counts import check_sample_counts


def main(store: Path, nomenclatures: list, neighbours: list, shots: list, samples: Path) -> None:
    checked = check_sample_counts(store.parent, nomenclatures, neighbours, shots)
    for note in checked["notes"]:
        remark(note)
    write_json(samples, checked)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
