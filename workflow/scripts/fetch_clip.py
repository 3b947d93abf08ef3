"""Load published or local CLIP weights, and keep them as an open_clip model directory."""

from pathlib import Path

from bandbridge import job
from bandbridge.clip import fetch_clip


def main(name: str, pretrained: str, directory: Path) -> None:
    fetch_clip(name, pretrained, directory.parent)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
