"""Write the patched model as an open_clip model directory: zero-shot and fine-tuned weights mixed at alpha."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.models.clip import load_clip, save_clip
from bandbridge.models.paint import patch


def main(clip: Path, finetuned: Path | None, alpha: float, directory: Path) -> None:
    save_clip(patch(load_clip(clip.parent), finetuned, alpha), directory.parent)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
