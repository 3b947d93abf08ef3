"""Embed words that are not class names with a CLIP's text encoder, in the prompt templates of the class names."""

from pathlib import Path

import torch

from bandbridge.base import script as job
from bandbridge.catalogue.datasets import prompt_set
from bandbridge.models.clip import load_clip
from bandbridge.models.text_heads import build_words_head
from bandbridge.store.heads import save_head


def main(clip: Path, words: dict, prompts: list | dict, head: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    save_head(head, build_words_head(load_clip(clip.parent), words, prompt_set(prompts)))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
