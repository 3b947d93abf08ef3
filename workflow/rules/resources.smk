# What jobs ask of a scheduler. Locally it does not matter: one machine's cores and GPUs are shared by the profile.

from bandbridge.config import resources as demands
from bandbridge.config.resources import clip_architecture


def of_profile(name):
    """A default resource of the profile, None where it has none."""
    found = (workflow.resource_settings.default_resources or {}).get(name)
    return None if found is None or found.raw in (None, "None") else found.raw


# What a job with a GPU asks of SLURM; elsewhere nothing. A resource that is None is not there.
GPU_PARTITION = of_profile("gpu_partition")
GPU_MODEL = of_profile("gpu_model_asked")
LONGEST = of_profile("longest")  # minutes that the scheduler allows

# A training on several nodes asks for GPUs node by node, one on a single node for their number.
TRAINING = config["train"]
NODE_GPUS = (
    ":".join(["gpu", *filter(None, [GPU_MODEL]), str(TRAINING["gpus"])])
    if TRAINING["nodes"] > 1
    else None
)
TRAINING_GPUS = None if NODE_GPUS else TRAINING["gpus"]
TRAINING_GPU_MODEL = None if NODE_GPUS else GPU_MODEL
# SLURM warns a training two minutes before its time is over, so that it can save what it has learnt.
WARNING = "--signal=USR1@120"


DRAWING_PROCESSES = 4  # of the report


def memory(ask):
    """A rule's mem_mb, of a function of wildcards and input that says what its job asks for."""
    return lambda wildcards, input, attempt: ask(wildcards, input).memory(attempt)


def minutes(ask):
    """Its runtime, the same way."""
    limit = int(LONGEST) if LONGEST else None
    return lambda wildcards, input, attempt: ask(wildcards, input).runtime(
        attempt, limit
    )


def size(path):
    return demands.stored(Path(path))


def clip_cost(clip):
    return demands.clip_network(CLIPS[clip][0])


def pretraining(wildcards, input):
    return demands.training(
        [size(input.store)], clip_cost(wildcards.clip), config["clip"]["scratch"]
    )


def finetuning(wildcards, input):
    return demands.training(
        [size(path) for path in input.stores],
        clip_cost(LINES[wildcards.line].clip),
        config["finetune"],
        TRAINING["gpus"],
        TRAINING["nodes"],
    )


def aligning(wildcards, input):
    name, clip = STUDENTS[wildcards.student]
    return demands.training(
        [size(input.store)],
        demands.student_network(student_facts(config, name)),
        align_recipe(config, name),
        TRAINING["gpus"],
        TRAINING["nodes"],
        teacher=clip_cost(clip),
    )


def encoding(network, splits, models=1):
    """What encoding a store asks for; `network` tells of the wildcards what it is encoded with."""
    return lambda wildcards, input: demands.encoding(
        size(input.store),
        network(wildcards),
        models,
        config["embed"]["batch_size"],
        splits,
    )


def scoring(wildcards, input):
    resamples = config["evaluate"]["bootstrap"]["resamples"]
    return demands.scoring(size(input.store), resamples=resamples)


def probing(wildcards, input):
    return demands.probing(size(input.store), config["evaluate"]["linear_probe"])


def converting(wildcards, input):
    return demands.converting(demands.size_of(Path(archives(wildcards.dataset))))


def joining(wildcards, input):
    return demands.joining(demands.size_of(Path(archives(wildcards.dataset))))


def small(wildcards, input):
    return demands.small()


def drawing(wildcards, input):
    return demands.drawing(DRAWING_PROCESSES)


def small_with_torch(wildcards, input):
    return demands.small(torch=True)
