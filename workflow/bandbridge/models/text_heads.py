"""Zero-shot heads from a CLIP's text encoder."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bandbridge.catalogue.datasets import Nomenclature, PromptSet
from bandbridge.models.clip import Clip
from bandbridge.models.device import best_device
from bandbridge.store.heads import Head, fill_templates

SENTENCES_AT_A_TIME = 256


def build_head(clip: Clip, nomenclature: Nomenclature, prompts: PromptSet) -> Head:
    """The zero-shot head of a nomenclature, from the sentences per class."""
    return _head(clip, nomenclature.classes, prompts.sentences(nomenclature))


def build_words_head(clip: Clip, words: Mapping[str, Sequence[str]], prompts: PromptSet) -> Head:
    """The head of words that are not class names: each fills the templates as a class's name would.

    Args:
        clip: whose text encoder embeds them.
        words: class -> the words that stand for it.
        prompts: whose templates are filled.
    """
    listed = tuple(word for some in words.values() for word in some)
    return _head(clip, listed, tuple(map(tuple, fill_templates(prompts.templates, listed))))


def _head(clip: Clip, names: tuple[str, ...], sentences: tuple[tuple[str, ...], ...]) -> Head:
    clip.model.to(best_device())
    return Head(
        weights=text_head(clip, sentences),
        logit_scale=clip.logit_scale,
        logit_bias=clip.logit_bias,
        classes=names,
        prompts=sentences,
    )


@torch.inference_mode()
def text_head(clip: Clip, class_prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Unit class vectors: embed each sentence of a class, normalise, mean, normalise (Radford et al. 2021, 3.1.4).

    Args:
        clip: whose text encoder embeds them.
        class_prompts: per class, its sentences.

    Returns:
        (class, dim) float32.
    """
    sentences = [sentence for prompts in class_prompts for sentence in prompts]
    classes = torch.split(embed_sentences(clip, sentences), [len(prompts) for prompts in class_prompts])
    unit: NDArray[np.float32] = F.normalize(torch.stack([v.mean(dim=0) for v in classes]), dim=-1).cpu().numpy()
    return unit


@torch.inference_mode()
def embed_sentences(clip: Clip, sentences: Sequence[str]) -> Tensor:
    """Unit embeddings of sentences: (n, dim) float32, on the model's device."""
    device = next(clip.model.parameters()).device
    embedded = [
        clip.model.encode_text(clip.tokenizer(sentences[at : at + SENTENCES_AT_A_TIME]).to(device))  # type: ignore[operator]
        for at in range(0, len(sentences), SENTENCES_AT_A_TIME)
    ]
    return F.normalize(torch.cat(embedded).float(), dim=-1)
