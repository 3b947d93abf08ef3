"""Fine-tune CLIP's image encoder on one data set's RGB pictures, under its frozen zero-shot head."""

from pathlib import Path

from bandbridge import job
from bandbridge.clip import load_clip
from bandbridge.device import set_up
from bandbridge.heads import load_head
from bandbridge.store import Store
from bandbridge.training.finetune import finetune
from bandbridge.training.loop import write_history
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.weights import save_weights


def main(
    clip: Path,
    head: Path,
    store: Path,
    nomenclature: str,
    recipe: dict,
    weights: Path,
    history: Path,
    seed: int,
    threads: int,
) -> None:
    device = set_up(threads, seed)
    model = load_clip(clip.parent)
    how = FinetuneRecipe.from_config(recipe)
    records = finetune(model, load_head(head), Store(store.parent, nomenclature), how, seed, device)
    write_history(history, records)
    save_weights(weights, model.visual.state_dict(), {"clip": model.name})


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
