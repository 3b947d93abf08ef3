"""Make the zero-shot head of a nomenclature from a CLIP's text encoder and prompt templates."""

from pathlib import Path

import torch

from bandbridge.base import script as job
from bandbridge.catalogue.datasets import nomenclature_of_spoken, prompt_set
from bandbridge.models.clip import load_clip
from bandbridge.models.text_heads import build_head
from bandbridge.store.heads import save_head


def main(clip: Path, nomenclature: str, classes: dict, prompts: list | dict, head: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    named = nomenclature_of_spoken(nomenclature, classes)
    save_head(head, build_head(load_clip(clip.parent), named, prompt_set(prompts)))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
