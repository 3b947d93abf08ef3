"""Take a patched image encoder from a file: it ends the line that a fine-tuning would."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.alphas import alpha_name
from bandbridge.models.clip import load_clip
from bandbridge.models.paint import ALPHA
from bandbridge.models.weights import save_weights
from bandbridge.use.by_file import image_encoder_by_file


def main(clip: Path, source: Path, alpha: float, weights: Path) -> None:
    model = load_clip(clip.parent)
    metadata = {"clip": model.name, ALPHA: alpha_name(alpha), "source": str(source)}
    save_weights(weights, image_encoder_by_file(source, model), metadata)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
