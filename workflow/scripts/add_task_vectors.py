"""Add the task vectors of several fine-tunings to CLIP's image encoder, each times its coefficient."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import read_json
from bandbridge.models.clip import load_clip
from bandbridge.models.paint import add_task_vectors
from bandbridge.models.weights import load_weights, save_weights


def main(clip: Path, finetuned: list[Path], selected: list[Path], weights: Path) -> None:
    """`selected` has the choice of alpha on each line, or one file with all coefficients."""
    model, choices = load_clip(clip.parent), [read_json(path) for path in selected]
    coefficients = [value for choice in choices for value in choice.get("coefficients", [choice.get("alpha")])]
    ends = [load_weights(path) for path in finetuned]
    save_weights(weights, add_task_vectors(model.visual.state_dict(), ends, coefficients), {"clip": model.name})


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
