# What depends on Snakemake itself. Run and Evaluation describe a run, Paths its paths.
#
# A run with several seeds has the wildcard `seed` in every path that depends on one. `run`, `scores` and `applied` are of
# any seed, and `of_job` asks those of the job's seed; what `shared` makes paths of is the same for all seeds.

from functools import partial

from bandbridge.base import alphas
from bandbridge.base.by_name import call_by_name, with_signature
from bandbridge.base.code_version import code_version
from bandbridge.base.files import read_json
from bandbridge.base.paths import one_of
from bandbridge.catalogue.datasets import conversion_facts, read_yaml, spoken
from bandbridge.catalogue.encoders import encoder_content
from bandbridge.config.lines import (
    align_task,
    model_at,
    nomenclature_of,
    patched_models,
)
from bandbridge.config.networks import align_recipe
from bandbridge.config.resources import clip_architecture
from bandbridge.config.compared import (
    compared_files,
    compared_runs,
    comparison_files,
    seed_files,
)
from bandbridge.config.run_notes import run_notes
from bandbridge.config.seeds import Seeds
from bandbridge.config.students_in_words import ablation_facts
from bandbridge.config.score_jobs import rules_by_nomenclature, zero_shot_rules
from bandbridge.config.scored import prompts, templates
from bandbridge.config.sweeps import ZERO_SHOT, sweeps
from bandbridge.ingest.fetch import doing
from bandbridge.ingest.listing import data_listing, file_listing

seeds = Seeds(config)
run, scores, applied = seeds.any.run, seeds.any.scores, seeds.any.applied
paths, shared = run.paths, run.paths.shared


wildcard_constraints:
    seed=one_of(seeds.each),
    dataset=r"[A-Za-z0-9_-]+",
    nomenclature=r"[A-Za-z0-9_-]+",
    prompts=r"[A-Za-z0-9_-]+",
    clip=r"[A-Za-z0-9_-]+",
    line=r"[A-Za-z0-9_-]+",
    tag=r"[A-Za-z0-9_+-]+",
    student=one_of(run.students),
    file=r"[^/]+",
    other=one_of(run.others),
    alpha=alphas.PATTERN,
    encoder=r"[A-Za-z0-9_.@-]+",
    subject=r"[A-Za-z0-9_-]+",
    split="train|val|test",
    stream="[a-z][a-z0-9]*",
    share="[0-9]+",
    shares="[0-9]+",


def chosen(line, seed=None):
    """The encoder that was chosen on a line; an input function that calls it makes Snakemake wait for the choice."""
    wildcards = {"line": line, "tag": run.tag(line), **({"seed": seed} if seed else {})}
    choice = checkpoints.select_alpha.get(**wildcards)
    alpha = read_json(Path(choice.output.selected))["alpha"]
    return model_at(run.lines[line], float(alpha))


def shown(dataset):
    """A data set in a message: its name, or that of the wildcard."""
    return "{wildcards.dataset}" if dataset == "{dataset}" else dataset


def of_job(function, **fixed):
    """A function's result for a job: its arguments are the job's wildcards of the same names, and `chosen`.

    A method of `run`, `scores` or `applied` is called on those of the job's seed.
    """

    def answer(wildcards):
        named = {**dict(wildcards.items()), **fixed}
        seed = named.pop("seed", None)
        return call_by_name(
            seeds.bound_to(function, seed),
            {"chosen": partial(chosen, seed=seed), **named},
        )

    return with_signature(answer)


@with_signature
def seed_of(wildcards):
    """The seed of a job."""
    return int(wildcards.get("seed", config["seed"]))


@with_signature
def config_of(wildcards):
    """The configuration of a job's seed."""
    return {**config, "seed": seed_of(wildcards)}


def without(values, *keys):
    """A section of the configuration without the keys that a stage does not read."""
    return {key: value for key, value in (values or {}).items() if key not in keys}


def users_files(dataset):
    """The state of the user's own files: a change of them is a change of the data set."""
    return data_listing(
        run.dataset(dataset), Path(run.archives(dataset)), config["preprocess"]["watch"]
    )


def users_weights(student):
    """The state of a checkpoint of the user's own that a student starts from."""
    return [] if run.first_weights(student) else file_listing(run.pretrained(student))


def unrecorded(value):
    """A param, or a function of wildcards that returns it, whose changes rerun nothing.

    For how a job runs, or what its outputs are; Snakemake does not compare params that are computed from outputs.
    """
    return with_signature(
        lambda wildcards, output: value(wildcards) if callable(value) else value
    )


def how_it_trains():
    """Params for how a training runs, on which its results do not depend."""
    train = config["train"]
    return dict(
        train=unrecorded(train),
        processes=unrecorded(train["gpus"]),
        nodes=unrecorded(train["nodes"]),
    )


def code_of(script, *data):
    """The version of a script and of the modules it imports, for the params of jobs that take seconds."""
    return with_signature(lambda wildcards: code_version(script, *data))
