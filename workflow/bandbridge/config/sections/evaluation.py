"""`embed` and `evaluate`: what is encoded and scored. Every metric reads embeddings."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bandbridge.base.model_types import (
    BY_TYPE,
    MAPPING,
    TEXT,
    UNIQUE,
    Agreed,
    Count,
    Section,
    SomeKeys,
    Text,
    UserPath,
    key,
)
from bandbridge.config.sections.types import Counts, Positive, Precision

Unique = Annotated[list[str], UNIQUE]
OneOrMore = Annotated[list[str], Field(min_length=1), UNIQUE]


class Embed(Section):
    """How images are encoded."""

    batch_size: Count = key("images in one pass of an encoder; changes speed and memory, and rounding", unit="samples")
    precision: Precision = key("as finetune.precision; half precision rounds embeddings in the third digit")
    models_per_job: Count | None = key(
        "alphas that share one pass over a data set; null: all. On a cluster, fewer make more jobs", reruns="nothing"
    )


class OtherEncoder(SomeKeys):
    """An encoder that is not trained here, with options that its name does not state."""

    least: ClassVar[int] = 2

    name: str = key("a file of workflow/encoders/")
    unpinned: Agreed = key(
        "agree to weights without a published checksum: those of the first download, and no others later",
        is_optional=True,
    )
    checkpoint: UserPath = key("a local file in place of the published weights", is_optional=True)


class Retrieval(Section):
    """RGB to multispectral and back."""

    ks: Counts = key("ranks of recall@k")
    label_map_k: Count | None = key(
        "mean average precision over shared labels among so many nearest; null: none", unit="samples"
    )


class TextRetrieval(Section):
    """Class names to images."""

    ks: Counts = key("ranks of precision@k and recall@k")


class Words(Section):
    """Words that are not class names, to images."""

    k: Count = key("nearest images whose share of the class is the score", reruns="the words' scores", unit="samples")
    datasets: dict[str, Annotated[dict[str, Annotated[list[Text], Field(min_length=1)]], Field(min_length=1)]] = key(
        "data set -> class -> words that should find images of it, through the task's templates"
    )


class LinearProbe(Section):
    """Logistic regression on frozen embeddings."""

    datasets: OneOrMore = key("those of `datasets` above to probe; each needs train, val and test splits")
    C: Annotated[list[Positive], Field(min_length=1), UNIQUE] = key(
        "inverse regularisation, chosen on the validation split"
    )
    max_iterations: Count = key("of the solver")
    features: Literal["standardised", "unit"] = key(
        "standardised: by the training samples | unit: of length 1, as in CLIP_benchmark", default="standardised"
    )
    refit: bool = key(
        "fit again with the chosen C on train and val together, as in CLIP_benchmark; not the probes on few samples",
        default=False,
    )
    shots: Annotated[list[Count], UNIQUE] = key("probes on so many samples per class as well; [] for none")
    repeats: Annotated[int, Field(ge=2, le=10_000)] = key("draws of these samples")


class Knn(Section):
    """Classification by the nearest training samples."""

    k: Count = key("nearest training samples that vote", unit="samples")


class Bootstrap(Section):
    """Intervals and p values."""

    resamples: Annotated[int, Field(ge=20, le=10_000_000)] = key(
        "halves of a split's samples, for intervals and p values (docs/method.md)"
    )
    level: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = key("of the intervals: 0.95 for 95 %")


class Evaluate(Section):
    """What is scored."""

    datasets: dict[str, Unique] = key(
        "data set -> prompt sets to score with; the tasks' own prompts are always scored",
        reruns="what that data set or prompt set lacks",
    )
    nomenclatures: dict[str, OneOrMore] = key(
        "data set -> class lists to score it in, where not its first alone: "
        "{bigearthnet_v1: [bigearthnet-43, bigearthnet-19]}"
    )
    encoders: list[Annotated[Annotated[str, TEXT] | Annotated[OtherEncoder, MAPPING], BY_TYPE]] = key(
        "other models to compare with ours: names of workflow/encoders/, {name, checkpoint} for a local file, or "
        "{name, unpinned: true} to agree to weights without a checksum",
        reruns="that encoder's embeddings and scores",
    )
    retrieval: Retrieval | None = key("RGB to multispectral and back over a whole test split; null switches it off")
    text_retrieval: TextRetrieval | None = key("class names to images; null switches it off")
    words: Words | None = key(
        "words that are not class names, to images; null switches it off",
        reruns="the words' embeddings and scores, the galleries",
    )
    linear_probe: LinearProbe | None = key("logistic regression on frozen embeddings; null switches it off")
    knn: Knn | None = key("k nearest neighbours on the same data sets as the linear probe; null switches it off")
    gap: bool = key("distances between embeddings of images, bands and texts (modality gap)")
    bootstrap: Bootstrap = key("of the scores' intervals", reruns="all scores")
