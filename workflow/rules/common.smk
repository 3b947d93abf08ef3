# Paths and names that the rules share. Paths are made here and nowhere else.

import json

from bandbridge.catalogue import load_dataset, load_nomenclature, read_yaml
from bandbridge.config import clip_id, evaluated, templates, uses_scratch


wildcard_constraints:
    dataset=r"[A-Za-z0-9_-]+",
    nomenclature=r"[A-Za-z0-9_-]+",
    prompts=r"[A-Za-z0-9_-]+",
    clip=r"[A-Za-z0-9_-]+",
    student=r"[A-Za-z0-9_-]+",
    alpha=r"[0-9.]+",
    encoder=r"[A-Za-z0-9_.@-]+",
    split="train|val|test",


def archive(path):
    return f"{config['data_root']}/archives/{path}"


def store(dataset):
    """A store's root metadata, which is written last: the store is whole where it exists."""
    return f"{config['data_root']}/zarr/{dataset}.zarr/zarr.json"


def quarantine(dataset):
    return f"{config['data_root']}/zarr/{dataset}.quarantine.csv"


def results(path):
    return f"{config['results_root']}/{config['run']}/{path}"


def logs(path):
    return f"{config['log_root']}/{config['run']}/{path}"


def head(clip, dataset, prompts):
    return results(
        f"heads/{clip}/{dataset}.{dataset_facts(dataset).nomenclature}.{prompts}.npz"
    )


def embedding(encoder, dataset, split):
    return results(f"embeddings/{encoder}/{dataset}.{split}.zarr/zarr.json")


def patched(alpha):
    """The name of the CLIP at this alpha among the encoders."""
    return f"{CLIP}@{float(alpha):g}"


def overrides(dataset):
    return config["datasets"].get(dataset, {})


def dataset_facts(dataset):
    return load_dataset(dataset, overrides(dataset))


CLIP = clip_id(config)
PATCHING = config["tasks"]["patching"]["dataset"]
SUPPORTED = (config["tasks"]["supported"] or {}).get("dataset")
EVALUATED = evaluated(config)  # data set -> prompt sets
STUDENTS = list(config["align"]["students"])
ALPHAS = [f"{alpha:g}" for alpha in sorted(config["paint"]["alphas"])]
SCRATCH = config["clip"]["scratch"]["dataset"] if uses_scratch(config) else None
DATASETS = sorted({PATCHING, *EVALUATED, *filter(None, [SUPPORTED, SCRATCH])})


def scored_splits(dataset):
    """The splits that every encoder is scored on: alpha is chosen on val, figures are reported on test."""
    return [split for split in dataset_facts(dataset).splits if split != "train"]


def has_bands(dataset):
    return dataset_facts(dataset).modality != "rgb"


def fetched_clip():
    return [] if SCRATCH else [results(f"clip/{CLIP}/open_clip_config.json")]


def needs(*keys, without=()):
    """Exactly the config values that a stage reads, so that no other change reruns it."""
    value = config
    for key in keys:
        value = value[key]
    return (
        {key: item for key, item in value.items() if key not in without}
        if without
        else value
    )


def training_minutes(wildcards, attempt):
    return 240 * attempt


# --- encoding ---------------------------------------------------------------------------------------------------------


def sweep_batches(dataset):
    def is_encoded(alpha):
        return all(
            Path(embedding(patched(alpha), dataset, split)).exists()
            for split in scored_splits(dataset)
        )

    encoded = [alpha for alpha in ALPHAS if is_encoded(alpha)]
    new = [alpha for alpha in ALPHAS if alpha not in encoded]
    return {
        name: alphas for name, alphas in (("encoded", encoded), ("new", new)) if alphas
    }


# --- what waits for alpha ---------------------------------------------------------------------------------------------

SELECTED = results(f"paint/{CLIP}.{PATCHING}/selected.json")


def selected_alpha():
    """The chosen alpha; Snakemake waits for the choice wherever an input function asks."""
    chosen = checkpoints.select_alpha.get(clip=CLIP, dataset=PATCHING).output.selected
    return json.loads(Path(chosen).read_text())["alpha"]


def chosen_alpha(wildcards):
    """The same for params, which Snakemake also evaluates before the choice is made."""
    return (
        json.loads(Path(SELECTED).read_text())["alpha"]
        if Path(SELECTED).exists()
        else None
    )


def models_once_alpha_is_chosen(wildcards):
    """Both ends of the line. What depends on alpha waits for the choice, and an unchanged choice reruns nothing."""
    selected_alpha()
    return dict(
        clip=results(f"clip/{CLIP}/open_clip_config.json"),
        clip_weights=results(f"clip/{CLIP}/open_clip_model.safetensors"),
        finetuned=results(f"finetune/{CLIP}.{PATCHING}/model.safetensors"),
    )


def aligned(student):
    """A student's weights. Whatever stands behind the alignment must wait for alpha by itself as well: Snakemake
    looks again only at jobs that wait, and would otherwise rerun the rest although the choice has not changed.
    """
    selected_alpha()
    return results(f"align/{student}/model.safetensors")


def encoded(encoder, dataset, split):
    """What an encoder made of a split, for whoever reads it."""
    if encoder in STUDENTS:
        selected_alpha()  # for the same reason
    return embedding(encoder, dataset, split)


# --- metrics ----------------------------------------------------------------------------------------------------------


def zero_shot_metrics(encoder, dataset, prompts):
    return results(
        f"metrics/{encoder}/zero-shot.{dataset}.{dataset_facts(dataset).nomenclature}.{prompts}.csv"
    )


def retrieval_metrics(student, dataset):
    return results(f"metrics/{student}/retrieval.{dataset}.csv")


def probe_metrics(encoder, dataset):
    return results(f"metrics/{encoder}/linear-probe.{dataset}.csv")


def probed_datasets():
    return (config["evaluate"]["linear_probe"] or {}).get("datasets", [])


def metrics_of(encoders, dataset):
    """The tables of encoders on one data set that are known beforehand."""
    tables = [
        zero_shot_metrics(encoder, dataset, prompts)
        for encoder in encoders
        for prompts in EVALUATED[dataset]
    ]
    students = [encoder for encoder in encoders if encoder in STUDENTS]
    if config["evaluate"]["retrieval"]:
        tables += [retrieval_metrics(student, dataset) for student in students]
    if dataset in probed_datasets():
        tables += [
            probe_metrics(encoder, dataset) for encoder in (patched(0), *students)
        ]
    return tables


def metrics_of_the_chosen(wildcards):
    """Those of the patched model alone; they wait for alpha."""
    chosen = patched(selected_alpha())
    return [
        probe_metrics(chosen, dataset)
        for dataset in probed_datasets()
        if chosen != patched(0)
    ]


# --- the report -------------------------------------------------------------------------------------------------------


def histories():
    paths = [results(f"finetune/{CLIP}.{PATCHING}/history.jsonl")]
    paths += [results(f"align/{student}/history.jsonl") for student in STUDENTS]
    return [results(f"clip/{CLIP}/history.jsonl"), *paths] if SCRATCH else paths
