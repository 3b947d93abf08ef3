"""The whole configuration: its roots, its sections, and how the results are shown."""

from typing import Annotated, Any

from pydantic import Field

from bandbridge.base.model_types import Section, Text, UserPath, key
from bandbridge.config.sections.apply import Application
from bandbridge.config.sections.clip import Clip
from bandbridge.config.sections.data import Preprocess, Prompts, Tasks
from bandbridge.config.sections.evaluation import Embed, Evaluate
from bandbridge.config.sections.training import Align, Finetune, Paint, Train
from bandbridge.config.sections.types import PathName

RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]


class Tables(Section):
    """What the tables show."""

    decimals: Annotated[int, Field(ge=0, le=4)] = key("of percentages")
    published: bool = key("published figures in the cells of the models that they are of (backbone, patching task)")
    models: list[str] | None = key(
        "those shown, in this order: zero-shot, patched, fine-tuned, aligned, or encoders' names; null: all"
    )
    datasets: list[str] | None = key("those shown, in this order; null: all")


class Report(Section):
    """What the report begins with."""

    title: Text = key("the report's heading")
    description: str = key("the paragraph below it")


class Config(Section):
    """Configuration of a run."""

    run: RunName = key(
        "names results/<run>/ and logs/<run>/; two runs share nothing but the data",
        reruns="everything but the data sets, under another name",
    )
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = key(
        "the one seed: initialisation, order, augmentation, half-samples. Same seed, same metrics.csv",
        reruns="everything that draws: trainings, scores",
    )
    seeds: list[Annotated[int, Field(ge=0, le=4_294_967_295)]] = key(
        "several seeds in place of the one, such as [0, 1, 2]: what depends on the seed runs for each, in "
        "results/<run>/seed-<n>/, and the run ends in mean and deviation; []: `seed` alone (docs/reproduce-paper.md)",
        reruns="a seed that is added: what draws, with that seed alone",
        default=[],
    )
    data_root: UserPath = key(
        "downloads are in archives/ below it, shared by all runs; read-only if they are all there. "
        "Paths may hold ~ and variables: $SCRATCH/bandbridge",
        reruns="what is missing",
    )
    store_root: UserPath | None = key(
        "where data sets are converted to; null: zarr/ below data_root", reruns="what is missing"
    )
    results_root: UserPath = key("results/<run>/ is below it", reruns="what is missing")
    log_root: UserPath = key("logs/<run>/ is below it", reruns="nothing but the report")
    container: UserPath | None = key(
        "an image for `snakemake --sdm apptainer` (docs/hpc.md)", reruns="nothing but the report"
    )
    clip: Clip = key(
        "the CLIP to start from. `scratch` trains a small image encoder on scikit-learn's digits against a sentence "
        "encoder that stays as it is, because a first run must not need a model hub. It stands in for OpenAI's "
        "weights, and nothing else differs: with a network, {name: ViT-B-32, pretrained: openai} works as it is",
        reruns="the CLIP and all that follows",
    )
    tasks: Tasks = key("what is patched, and what must stay", reruns="the fine-tuning and all that follows")
    datasets: dict[str, dict[str, Any]] = key(
        "options of the data sets, which override the `options` of workflow/datasets/<name>.yaml",
        reruns="that data set's conversion, and what reads it",
    )
    preprocess: Preprocess = key("how data sets are converted", reruns="the joining of the stores")
    prompts: dict[PathName, Prompts] = key(
        "your own prompt sets, beside those of workflow/prompts/: name -> templates with one {} each, or a mapping "
        "with `templates`, `names` (class -> what fills them, in place of its usual name) and `classes` (class -> "
        "its own sentences)",
        reruns="the heads made of them, and their scores",
    )
    train: Train = key(
        "how training runs: nothing here changes what is learnt, and a change of it retrains nothing",
        reruns="the report, which shows it",
    )
    finetune: Finetune = key(
        "step 1: fine-tune under the frozen head (PAINT)",
        reruns="the fine-tuning and all that follows",
    )
    paint: Paint = key(
        "step 2: interpolate, and choose alpha on validation data", reruns="the choice of alpha and what follows"
    )
    align: Align = key(
        "step 3: align a multispectral student to the patched CLIP", reruns="the students, their embeddings and scores"
    )
    embed: Embed = key("how images are encoded", reruns="the embeddings and scores")
    evaluate: Evaluate = key("what is scored: every metric reads embeddings", reruns="the scores concerned")
    tables: Tables = key("what the tables show", reruns="the tables and the report")
    apply: dict[PathName, Application] = key(
        "scenes to map and images to embed with this run's models: name -> {images: PATH}, and more (docs/use.md)",
        reruns="the maps and archives concerned, the report",
        default={},
    )
    compare: list[UserPath] = key(
        "runs that `snakemake compare` puts side by side: names below results_root, or folders", reruns="nothing"
    )
    report: Report = key("what the report begins with", reruns="the report")
