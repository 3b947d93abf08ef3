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
    """The zero-shot head of a nomenclature, from each class's sentences."""
    return _head(clip, nomenclature.classes, prompts.sentences(nomenclature))


def build_words_head(clip: Clip, words: Mapping[str, Sequence[str]], prompts: PromptSet) -> Head:
    """The head of words that are no class: each fills the templates as a class's name would.

    Args:
        words: those that stand for a class, by class.
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
        class_prompts: the sentences of each class.

    Returns: (class, dim) float32.
    """
    sentences = [sentence for prompts in class_prompts for sentence in prompts]
    classes = embed_sentences(clip, sentences).split([len(prompts) for prompts in class_prompts])
    return F.normalize(torch.stack([vectors.mean(dim=0) for vectors in classes]), dim=-1).cpu().numpy()


@torch.inference_mode()
def embed_sentences(clip: Clip, sentences: Sequence[str]) -> Tensor:
    """Unit embeddings of sentences: (n, dim) float32, on the model's device."""
    device = next(clip.model.parameters()).device
    embedded = [
        clip.model.encode_text(clip.tokenizer(sentences[at : at + SENTENCES_AT_A_TIME]).to(device))  # type: ignore[operator]
        for at in range(0, len(sentences), SENTENCES_AT_A_TIME)
    ]
    return F.normalize(torch.cat(embedded).float(), dim=-1)
