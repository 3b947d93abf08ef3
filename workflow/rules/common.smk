# What depends on Snakemake itself. Run and Evaluation describe a run, Paths its paths.
#
# A run with several seeds has the wildcard `seed` in every path that depends on one. `run`, `scores` and `applied` are of
# any seed, and `of_job` asks those of the job's seed; what `shared` makes paths of is the same for all seeds.

from functools import partial

from bandbridge.base import alphas
from bandbridge.base.by_name import call_by_name, with_signature
from bandbridge.base.files import read_json
from bandbridge.base.paths import one_of
from bandbridge.catalogue.datasets import conversion_facts, read_yaml, spoken
from bandbridge.catalogue.encoders import encoder_content
from bandbridge.config.lines import align_task, model_at, nomenclature_of
from bandbridge.config.lines import patched_models
from bandbridge.config.networks import align_recipe
from bandbridge.config.compared import compared_files, compared_runs
from bandbridge.config.compared import comparison_files, seed_files
from bandbridge.config.run_notes import run_notes
from bandbridge.config.seeds import Seeds
from bandbridge.config.students_in_words import ablation_facts
from bandbridge.config.score_jobs import rules_by_nomenclature, zero_shot_rules
from bandbridge.config.scored import prompts, templates
from bandbridge.config.sweeps import ZERO_SHOT, sweeps
from bandbridge.ingest.fetch import doing
from bandbridge.ingest.listing import file_listing
from bandbridge.ops import rule_params
from bandbridge.ops.rule_params import code_of, shown, unrecorded, without

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


seed_of, config_of = rule_params.seed_of(config), rule_params.config_of(config)
users_files = partial(rule_params.users_files, run, config["preprocess"]["watch"])
users_weights = partial(rule_params.users_weights, run)
how_it_trains = partial(rule_params.how_it_trains, config["train"])
