"""`train`, `finetune`, `paint` and `align`: how models are trained, interpolated and aligned."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from bandbridge.base.model_types import UNIQUE, Count, Pixels, Section, Share, Text, UserPath, key
from bandbridge.config.sections.types import (
    ClassWeights,
    Epochs,
    PathName,
    Positive,
    Precision,
    Rate,
    Smoothing,
    Steps,
    Task,
    Weight,
)

CropScale = Annotated[list[Share], Field(min_length=2, max_length=2)]


class Train(Section):
    """How training runs; nothing here changes what is learnt."""

    gpus: Count = key("of each node, for one training; without GPUs, so many processes share it")
    nodes: Count = key("for one training; more than one need a cluster (docs/hpc.md)")
    checkpoint_minutes: Positive = key(
        "a training that is killed, or asked to stop (SIGTERM, SIGUSR1), resumes from its last checkpoint",
        unit="minutes",
    )
    keep_checkpoints: Count = key("a damaged last one falls back to the one before")
    validate_epochs: Count = key("epochs between two validations; the last one always has one", unit="epochs")
    tensorboard: bool = key("write TensorBoard's files under logs/<run>/, if TensorBoard is installed")


class Augmentation(Section):
    """How an image is changed before the network sees it, at random."""

    crop_scale: CropScale = key("area of the random resized crop")
    flip: Share = key("probability of a horizontal, and of a vertical flip")
    jitter: Annotated[list[Share], Field(min_length=3, max_length=3)] = key(
        "brightness, contrast, saturation; the paper: 0.4 each, but in the demo colour is most of the signal"
    )
    jitter_probability: Share = key("of the jitter")
    greyscale_probability: Share = key("the paper: 0.2")
    blur_probability: Share = key("the paper: 0.4; Gaussian, kernel 3 x 7, sigma 0.1 to 2")


class Finetune(Section):
    """Step 1: fine-tune the image encoder under the frozen head (PAINT)."""

    epochs: Epochs = key("passes over the train split")
    batch_size: Count = key("of one step, over all processes", unit="samples")
    learning_rate: Rate = key("AdamW, linear warm-up, cosine to 0 over the epochs")
    weight_decay: Weight = key("of AdamW")
    warmup_steps: Steps = key("until the learning rate is reached", unit="steps")
    clip_norm: Positive = key("largest gradient norm")
    precision: Precision = key(
        "auto: what the hardware computes fast (bfloat16, else float16 on GPUs, else float32) | "
        "bfloat16 | float16 (with loss scaling; GPUs only) | float32"
    )
    accumulate: Count = key(
        "micro-batches that a step is cut into, where memory is short; batch_size is that of the step"
    )
    checkpoint_gradients: bool = key("keep few activations and compute the others twice: less memory, a third slower")
    compile: bool = key("torch.compile: pays for long trainings on GPUs")
    label_smoothing: Smoothing = key("of the multi-label targets: 0 becomes 0.1 and 1 becomes 0.9")
    class_weights: ClassWeights = key(
        "null: all classes alike, as published | balanced: each by one over its samples in train "
        "| root: by one over their square root; the weights' mean is 1 (docs/method.md)"
    )
    augmentation: Augmentation = key("of the images, at random")


class Select(Section):
    """How alpha is chosen."""

    criterion: Literal["mean", "max_loss", "fixed"] = key(
        "mean: best mean of both tasks | max_loss: best patching score within the loss | fixed"
    )
    max_loss: Share = key(
        "for max_loss: the supported task may lose this much on val (0.01 is one point); of the demo's 629 digits, "
        "less than a point leaves room for chance on test"
    )
    alpha: Share = key("for fixed: this alpha, which must be in the list")


class Paint(Section):
    """Step 2: interpolate, and choose alpha on validation data."""

    several: Literal["jointly", "sequentially", "in_parallel"] = key(
        "how several patching tasks are patched: jointly | sequentially | in_parallel",
        reruns="the fine-tuning and all that follows",
    )
    alphas: Annotated[list[Share], Field(min_length=1), UNIQUE] = key(
        "0 is zero-shot CLIP and 1 the fine-tuned model: both are needed; [0] alone: nothing is patched",
        reruns="the new alphas' embeddings and scores, the choice",
    )
    coefficients: Literal["separately", "jointly"] = key(
        "of tasks patched in parallel: separately, each task's own alpha | jointly, searched over the sum on val",
        default="separately",
        reruns="the sum of the task vectors and all that follows",
    )
    most_models: Annotated[int, Field(ge=2, le=100_000)] = key(
        "of a joint search of coefficients; each is scored on val of every task", default=50, reruns="that search"
    )
    select: Select = key(
        "how one of them is chosen on val", reruns="the choice; what follows, if another alpha is chosen"
    )


class AlignRecipe(Section):
    """How a student is aligned."""

    epochs: Epochs = key("passes over the train split")
    batch_size: Count = key("of one step, over all processes", unit="samples")
    learning_rate: Rate = key("AdamW, linear warm-up, cosine to 0 over the epochs")
    weight_decay: Weight = key("of AdamW")
    warmup_steps: Steps = key("until the learning rate is reached", unit="steps")
    clip_norm: Positive = key("largest gradient norm")
    precision: Precision = key("as finetune.precision")
    accumulate: Count = key("as finetune.accumulate")
    checkpoint_gradients: bool = key("as finetune.checkpoint_gradients")
    compile: bool = key("as finetune.compile")
    loss: Literal["mse", "cosine", "infonce"] = key(
        "mse (the paper's) | cosine | infonce, between the student's embedding and the teacher's"
    )
    temperature: Positive = key("of infonce")
    distillation_weight: Weight = key(
        "loss = distillation_weight * mse(student, teacher) + label_weight * label loss; 0 leaves a term out"
    )
    label_weight: Weight = key("the paper's lambda")
    cache_teacher: bool = key("compute the teacher's embeddings once; only with crop_scale [1, 1] and flip 0")
    label_smoothing: Smoothing = key("of multi-label targets")
    class_weights: ClassWeights = key("of the label loss: null | balanced | root, as above")
    crop_scale: CropScale = key("range of the share of the area that is cut out")
    flip: Share = key("probability of a horizontal, and of a vertical flip")
    separate_crops: bool = key("false: teacher and student see the same crop and flips | true: each its own")
    shuffle: bool = key("draw the order of the samples in each epoch | false: as stored")


def _optional(model: type[Section], name: str) -> Any:
    """A model with the keys of another, all optional."""
    keys: dict[str, Any] = {key: (field.rebuild_annotation(), None) for key, field in model.model_fields.items()}
    return create_model(name, __base__=Section, __doc__=f"Some of the values of {model.__name__}.", **keys)


if TYPE_CHECKING:
    RecipeChanges = AlignRecipe
else:
    RecipeChanges = _optional(AlignRecipe, "RecipeChanges")


class Student(Section):
    """A multispectral encoder that is aligned to the patched CLIP."""

    backbone: Text = key("any timm model that takes in_chans")
    options: dict[str, Any] = key("passed to timm.create_model")
    image_size: Pixels = key("bands are resized to this", unit="pixels")
    bands: Annotated[list[str], Field(min_length=1), UNIQUE] = key(
        "those it sees, in this order; B10 is zeros where the data lack it (L2A)"
    )
    scaling: Literal["standardise", "reflectance"] = key(
        "standardise (mean and deviation of the train split) | reflectance (clip(DN / 10,000, 0, 1))"
    )
    pretrained: UserPath | None = key(
        "a local checkpoint of the backbone | a name of workflow/encoders/, fetched | null: random weights"
    )
    weights: UserPath | None = key(
        "null: aligned in this run | the aligned student by file (docs/reproduce-paper.md); then nothing is trained, "
        "and `pretrained` and `recipe` are not read",
        default=None,
    )
    modality: str | None = key(
        "null: the data set's first | s1, say, for a student of Sentinel-1; the teacher sees RGB all the same",
        default=None,
    )
    widen_rgb: bool = key(
        "widen the patch embedding of a checkpoint that was trained on RGB to these bands", default=False
    )
    fill: Literal["zero", "mean", "error"] = key(
        "bands that the data lack: zero | mean (of the train split) | error", default="zero"
    )
    recipe: RecipeChanges = key(
        "values of the ones below that this student is aligned with instead, for ablations", default={}, same_as="align"
    )


class Align(AlignRecipe):
    """Step 3: align multispectral students to the patched CLIP."""

    students: dict[PathName, Student] = key(
        "name -> encoder; {} switches the alignment off", reruns="that student, its embeddings and scores"
    )
    task: Task | None = key(
        "{dataset, prompts, nomenclature}, what students are aligned on; null: the (first) patching task"
    )
