"""`clip`: the CLIP to start from, and how one is trained from scratch."""

from typing import Annotated

from pydantic import Field

from bandbridge.base.model_types import Section, Share, key
from bandbridge.config.sections.types import Epochs, Names, Positive, Precision, Rate, Steps, Weight, WeightSources


class Scratch(Section):
    """How a CLIP is trained from scratch: contrastively, on images and captions made of their class names."""

    dataset: str = key("single-label images; their captions are the templates filled with the class names")
    prompts: str = key("the caption templates: a file of workflow/prompts/ or a key of `prompts` below")
    text: str | None = key(
        "a file of workflow/text_towers/: that text encoder, locked | null: the text encoder learns too (name: "
        "demo-vit)",
        default=None,
    )
    epochs: Epochs = key("passes over the train split")
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = key(
        "of one step; each caption is compared with those of the others", unit="samples"
    )
    learning_rate: Rate = key("AdamW, linear warm-up, cosine to 0")
    weight_decay: Weight = key("of AdamW")
    warmup_steps: Steps = key("until the learning rate is reached", unit="steps")
    clip_norm: Positive = key("largest gradient norm")
    precision: Precision = key("as finetune.precision below")
    shift: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = key(
        "random shift, as a share of the image's width"
    )
    zoom: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = key("random zoom, 0.1 for 90 to 110 %")
    recolour: Share = key(
        "probability of two random colours in place of black and white; without it, all images that are not digits "
        "have nearly the same embedding, and patching costs more of the digits"
    )


class Clip(Section):
    """The CLIP to start from, or several."""

    name: Names = key("a file of workflow/clip_configs/, or any architecture open_clip knows")
    pretrained: WeightSources = key(
        "scratch | a tag open_clip lists for `name` | a local checkpoint | an open_clip or transformers folder"
    )
    patched: WeightSources | None = key(
        "null: patched in this run | the patched image encoder of each name by file, at the largest of paint.alphas; "
        "then nothing is fine-tuned, and `finetune` is not read (docs/reproduce-paper.md)",
        default=None,
        reruns="the encodings by patched models and what follows",
    )
    quick_gelu: bool | None = key(
        "null: the activation that the weights' origin demands (OpenAI's: QuickGELU) | true | false", default=None
    )
    scratch: Scratch = key("how to train it; read only where `pretrained` is scratch", is_optional=True)
