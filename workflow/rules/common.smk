# Paths and names that the rules share. Paths are made here and nowhere else.

import json
from itertools import product

from bandbridge.catalogue import (
    conversion_facts,
    load_dataset,
    load_nomenclature,
    read_yaml,
)
from bandbridge.settings import (
    absent_checkpoints,
    align_recipe,
    clips,
    evaluated,
    scored_nomenclatures,
    student_facts,
    students,
    task_nomenclature,
    templates,
    uses_scratch,
)
from bandbridge.download import missing_manual, own_files


wildcard_constraints:
    dataset=r"[A-Za-z0-9_-]+",
    nomenclature=r"[A-Za-z0-9_-]+",
    prompts=r"[A-Za-z0-9_-]+",
    clip=r"[A-Za-z0-9_-]+",
    student=r"[A-Za-z0-9_-]+",
    alpha=r"[0-9.]+",
    encoder=r"[A-Za-z0-9_.@-]+",
    split="train|val|test",
    stream="[a-z][a-z0-9]*",
    share="[0-9]+",
    shares="[0-9]+",


def archives(dataset):
    """The folder of a data set's downloads. It may be read-only, so nothing else is written there."""
    return f"{config['data_root']}/archives/{dataset_facts(dataset).archives}"


STORES = config["store_root"] or f"{config['data_root']}/zarr"


def files(dataset):
    return f"{STORES}/{dataset}.files.json"


def parts(path):
    """What a conversion leaves until the store is joined of it, and after: the store's pixels are hard links to it."""
    return f"{STORES}/parts/{path}"


def converted(dataset):
    facts = dataset_facts(dataset)
    return [
        parts(f"{dataset}/{stream}.{share}-of-{facts.convert_jobs}/records.npz")
        for stream in facts.streams
        for share in range(facts.convert_jobs)
    ]


def users_files(dataset):
    """The user's own tables and archives, a change of which is a change of the data set."""
    found = own_files(dataset_facts(dataset), Path(archives(dataset)))
    return [str(path) for path in found]


def still_to_fetch_by_hand(dataset):
    """The steps to take for files that no program may fetch, where they are not there."""
    if Path(files(dataset)).exists():
        return []
    return missing_manual(dataset_facts(dataset), Path(archives(dataset)))


def store(dataset):
    """A store's root metadata, which is written last: the store is whole where it exists."""
    return f"{STORES}/{dataset}.zarr/zarr.json"


def quarantine(dataset):
    return f"{STORES}/{dataset}.quarantine.csv"


def results(path):
    return f"{config['results_root']}/{config['run']}/{path}"


def logs(path):
    return f"{config['log_root']}/{config['run']}/{path}"


def head(clip, dataset, nomenclature, prompts):
    return results(f"heads/{clip}/{dataset}.{nomenclature}.{prompts}.npz")


def patching_head(clip):
    """The head that stays frozen while the image encoder learns the patching task."""
    return head(
        clip,
        PATCHING,
        task_nomenclature(config, "patching"),
        config["tasks"]["patching"]["prompts"],
    )


def embedding(encoder, dataset, split):
    return results(f"embeddings/{encoder}/{dataset}.{split}.zarr/zarr.json")


def patched(clip, alpha):
    """The name of a CLIP at this alpha among the encoders."""
    return f"{clip}@{float(alpha):g}"


def clip_of(encoder):
    """The CLIP whose space an encoder maps to."""
    return STUDENTS[encoder][1] if encoder in STUDENTS else encoder.split("@")[0]


def of_each_clip(path):
    """A path with {clip} and {dataset} in it, for every CLIP that is patched."""
    return [path.format(clip=clip, dataset=PATCHING) for clip in CLIPS]


def overrides(dataset, only=None, without=()):
    values = config["datasets"].get(dataset, {})
    return {
        key: value
        for key, value in values.items()
        if key not in without and (only is None or key in only)
    }


def dataset_facts(dataset):
    return load_dataset(dataset, overrides(dataset))


def class_names_and_maps(dataset):
    """Of every nomenclature of a data set, what a change of which changes its labels."""
    names = dataset_facts(dataset).nomenclatures
    return {
        name: [list(facts.classes), dict(facts.maps)]
        for name, facts in ((name, load_nomenclature(name)) for name in names)
    }


CLIPS = clips(config)  # id -> name, weights
PATCHING = config["tasks"]["patching"]["dataset"]
SUPPORTED = (config["tasks"]["supported"] or {}).get("dataset")
EVALUATED = evaluated(config)  # data set -> prompt sets
STUDENTS = students(config)  # encoder -> name in the configuration, teacher
ALPHAS = [f"{alpha:g}" for alpha in sorted(config["paint"]["alphas"])]
SCRATCH = config["clip"]["scratch"]["dataset"] if uses_scratch(config) else None
DATASETS = sorted({PATCHING, *EVALUATED, *filter(None, [SUPPORTED, SCRATCH])})


def scored_splits(dataset):
    """The splits that every encoder is scored on: alpha is chosen on val, figures are reported on test."""
    return [split for split in dataset_facts(dataset).splits if split != "train"]


def students_of(dataset):
    """The students that can encode a data set: it has the modality that they see."""
    modalities = dataset_facts(dataset).modalities
    there = {item.name for item in modalities} - {"rgb"}
    return [
        encoder
        for encoder, (student, _) in STUDENTS.items()
        if (student_facts(config, student).get("modality") or modalities[0].name)
        in there
    ]


def fetched_clip():
    return [] if SCRATCH else of_each_clip(results("clip/{clip}/open_clip_config.json"))


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


def sweep_batches(clip, dataset):
    def is_encoded(alpha):
        return all(
            Path(embedding(patched(clip, alpha), dataset, split)).exists()
            for split in scored_splits(dataset)
        )

    encoded = [alpha for alpha in ALPHAS if is_encoded(alpha)]
    new = [alpha for alpha in ALPHAS if alpha not in encoded]
    return {
        name: alphas for name, alphas in (("encoded", encoded), ("new", new)) if alphas
    }


# --- what waits for alpha ---------------------------------------------------------------------------------------------


def selected_alpha(clip):
    """The chosen alpha; Snakemake waits for the choice wherever an input function asks."""
    chosen = checkpoints.select_alpha.get(clip=clip, dataset=PATCHING).output.selected
    return json.loads(Path(chosen).read_text())["alpha"]


def teacher(wildcards):
    """The CLIP of a rule about CLIPs, or about a student."""
    return (
        STUDENTS[wildcards.student][1]
        if "student" in wildcards.keys()
        else wildcards.clip
    )


def chosen_alpha(wildcards):
    """The same for params, which Snakemake also evaluates before the choice is made."""
    selected = Path(results(f"paint/{teacher(wildcards)}.{PATCHING}/selected.json"))
    return json.loads(selected.read_text())["alpha"] if selected.exists() else None


def models_once_alpha_is_chosen(wildcards):
    """Both ends of the line. What depends on alpha waits for the choice, and an unchanged choice reruns nothing."""
    clip = teacher(wildcards)
    selected_alpha(clip)
    return dict(
        clip=results(f"clip/{clip}/open_clip_config.json"),
        clip_weights=results(f"clip/{clip}/open_clip_model.safetensors"),
        finetuned=results(f"finetune/{clip}.{PATCHING}/model.safetensors"),
    )


def aligned(student):
    """A student's weights. Whatever stands behind the alignment must wait for alpha by itself as well: Snakemake
    looks again only at jobs that wait, and would otherwise rerun the rest although the choice has not changed.
    """
    selected_alpha(clip_of(student))
    return results(f"align/{student}/model.safetensors")


def encoded(encoder, dataset, split):
    """What an encoder made of a split, for whoever reads it."""
    if encoder in STUDENTS:
        selected_alpha(clip_of(encoder))  # for the same reason
    return embedding(encoder, dataset, split)


# --- metrics ----------------------------------------------------------------------------------------------------------


def zero_shot_metrics(encoder, dataset, nomenclature, prompts):
    return results(
        f"metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.csv"
    )


def retrieval_metrics(student, dataset):
    return results(f"metrics/{student}/retrieval.{dataset}.csv")


def probe_metrics(encoder, dataset, nomenclature):
    return results(f"metrics/{encoder}/linear-probe.{dataset}.{nomenclature}.csv")


def probed_datasets():
    return (config["evaluate"]["linear_probe"] or {}).get("datasets", [])


def metrics_of(encoders, dataset):
    """The tables of encoders on one data set that are known beforehand."""
    tables = [
        zero_shot_metrics(encoder, dataset, nomenclature, prompts)
        for encoder in encoders
        for nomenclature in scored_nomenclatures(config, dataset)
        for prompts in EVALUATED[dataset]
    ]
    aligned = [encoder for encoder in encoders if encoder in STUDENTS]
    if config["evaluate"]["retrieval"]:
        tables += [retrieval_metrics(student, dataset) for student in aligned]
    if dataset in probed_datasets():
        tables += [
            probe_metrics(encoder, dataset, nomenclature)
            for encoder in (*(patched(clip, 0) for clip in CLIPS), *aligned)
            for nomenclature in scored_nomenclatures(config, dataset)
        ]
    return tables


def metrics_of_the_chosen(wildcards):
    """Those of the patched model alone; they wait for alpha."""
    chosen = {clip: patched(clip, selected_alpha(clip)) for clip in CLIPS}
    return [
        probe_metrics(encoder, dataset, nomenclature)
        for clip, encoder in chosen.items()
        for dataset in probed_datasets()
        for nomenclature in scored_nomenclatures(config, dataset)
        if encoder != patched(clip, 0)
    ]


# --- the report -------------------------------------------------------------------------------------------------------


def histories():
    paths = of_each_clip(results("finetune/{clip}.{dataset}/history.jsonl"))
    paths += [results(f"align/{student}/history.jsonl") for student in STUDENTS]
    first = of_each_clip(results("clip/{clip}/history.jsonl")) if SCRATCH else []
    return [*first, *paths]
