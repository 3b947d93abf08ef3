"""Load published or local CLIP weights, and keep them as an open_clip model directory."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.models.clip import fetch_clip


def main(name: str, pretrained: str, directory: Path, quick_gelu: bool | None = None) -> None:
    fetch_clip(name, pretrained, directory.parent, quick_gelu)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
