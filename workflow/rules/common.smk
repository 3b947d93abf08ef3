# Paths and names that the rules share. Paths are made here and nowhere else.

import re
from itertools import product

from bandbridge.base import alphas
from bandbridge.base.alphas import alpha_name
from bandbridge.catalogue.datasets import (
    conversion_facts,
    load_dataset,
    load_nomenclature,
    read_yaml,
    spoken,
)
from bandbridge.base.code_version import code_version
from bandbridge.config.apply import applications, apply_settings, made_by
from bandbridge.config.run_notes import run_notes
from bandbridge.config.run import (
    absent_checkpoints,
    align_recipe,
    align_task,
    all_tasks,
    clips,
    compared_runs,
    comparison_folder,
    evaluated,
    final_lines,
    lines,
    locked_tower,
    main_prompts,
    model_at,
    neighbours_asked,
    nomenclature_of,
    open_words,
    other_encoders,
    unpinned_encoders,
    prompts,
    published_weights,
    scored_nomenclatures,
    shots_asked,
    student_facts,
    students,
    templates,
    uses_scratch,
)
from bandbridge.ingest.fetch import doing, missing_manual
from bandbridge.catalogue.encoders import encoder_content, load_encoder_facts, sees
from bandbridge.ingest.listing import data_listing, file_listing
from bandbridge.config.sharing import shared_download, shared_store
from bandbridge.base.files import read_json
from bandbridge.catalogue.text_towers import load_text_tower, tower_folder


wildcard_constraints:
    dataset=r"[A-Za-z0-9_-]+",
    nomenclature=r"[A-Za-z0-9_-]+",
    prompts=r"[A-Za-z0-9_-]+",
    clip=r"[A-Za-z0-9_-]+",
    line=r"[A-Za-z0-9_-]+",
    tag=r"[A-Za-z0-9_+-]+",
    student="|".join(map(re.escape, students(config))) or "none",
    file=r"[^/]+",
    other="|".join(map(re.escape, other_encoders(config))) or "none",
    alpha=alphas.PATTERN,
    encoder=r"[A-Za-z0-9_.@-]+",
    shown=r"[A-Za-z0-9_-]+",
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


def users_listing(dataset):
    """The state of the user's own files, a change of which is a change of the data set."""
    facts, watch = dataset_facts(dataset), config["preprocess"]["watch"]
    return data_listing(facts, Path(archives(dataset)), watch)


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


def words_head(clip, dataset, prompts):
    return results(f"heads/{clip}/words/{dataset}.{prompts}.npz")


def task_head(clip, task):
    """The head that stays frozen while an image encoder learns a task."""
    return head(clip, task["dataset"], nomenclature_of(task), task["prompts"])


def embedding(encoder, dataset, split):
    return results(f"embeddings/{encoder}/{dataset}.{split}.zarr/zarr.json")


def space_of(encoder):
    """Whose text encoder an encoder's embeddings belong to: another encoder's own, or a CLIP's."""
    return encoder if encoder in OTHERS else clip_of(encoder)


def clip_of(encoder):
    """The CLIP whose space one of our encoders maps to."""
    if encoder in STUDENTS:
        return STUDENTS[encoder][1]
    return LINES[encoder.split("@")[0]].clip


def stated(task):
    """A task with what its data set decides: the nomenclature that it leaves open, and the headline metric."""
    metric = dataset_facts(task["dataset"]).headline
    return {**task, "nomenclature": nomenclature_of(task), "metric": metric}


def of_line(line, path):
    return results(f"paint/{line}.{LINES[line].tag}/{path}")


def of_each_line(path):
    """A file of every line's choice of alpha."""
    return [of_line(line, path) for line in LINES]


def samples_of_each():
    return [results(f"samples/{dataset}.json") for dataset in EVALUATED]


def finetuned(line):
    """The weights at a line's end: of its own fine-tuning, or made of the task vectors of others."""
    if LINES[line].parts:
        return of_line(line, "sum.safetensors")
    return results(f"finetune/{line}.{LINES[line].tag}/model.safetensors")


def of_each_clip(path):
    return [path.format(clip=clip) for clip in CLIPS]


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
LINES = lines(config)  # name -> where it starts, its tasks
PATCHED = final_lines(config)  # CLIP -> the line that its patched model is on
EVALUATED = evaluated(config)  # data set -> prompt sets
WORDS = open_words(config)  # data set -> class -> words that stand for it
STUDENTS = students(config)  # encoder -> name in the configuration, CLIP
ALPHAS = [alpha_name(alpha) for alpha in sorted(config["paint"]["alphas"])]
SCRATCH = config["clip"]["scratch"]["dataset"] if uses_scratch(config) else None
TOWER = locked_tower(config)  # the text tower that stays as it is
OTHERS = {
    name: load_encoder_facts(name, checkpoint)
    for name, checkpoint in other_encoders(config).items()
}
TAUGHT = align_task(config)["dataset"]
DATASETS = sorted(
    {
        *EVALUATED,
        *filter(None, [SCRATCH]),
        *(task["dataset"] for task in all_tasks(config)),
    }
)


def datasets_of(line):
    """What a line's models are scored on: everything, or, of a line that is a part of another, its own tasks."""
    facts = LINES[line]
    if any(line in other.parts for other in LINES.values()):
        return [task["dataset"] for task in (*facts.patching, *facts.kept)]
    return list(EVALUATED)


def models_of(line):
    """Its models among the encoders, those that no other line has as well."""
    names = [model_at(LINES[line], float(alpha)) for alpha in ALPHAS]
    return [name for name in names if name.split("@")[0] == line]


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


def others_of(dataset):
    """The encoders not made here that can encode a data set."""
    return [
        name for name, facts in OTHERS.items() if sees(facts, dataset_facts(dataset))
    ]


def text_model(name):
    """The open_clip directory whose text encoder makes heads."""
    folder = "encoders" if name in OTHERS else "clip"
    return results(f"{folder}/{name}/open_clip_config.json")


def brought(encoder):
    return results(f"encoders/{encoder}/encoder.json")


# File of published weights that students start from -> the encoder that they are of.
FIRST_WEIGHTS = {
    path.name: student["pretrained"]
    for student in config["align"]["students"].values()
    if (path := published_weights(config, student["pretrained"]))
}


def first_weights(student):
    """What a student's weights are fetched to, where they are."""
    name = config["align"]["students"][student]["pretrained"]
    path = published_weights(config, name)
    return [] if path is None else [str(path)]


def own_weights(student):
    """The state of a checkpoint of the user's own that a student starts from."""
    name = config["align"]["students"][student]["pretrained"]
    return [] if first_weights(student) else file_listing(name)


def checked_first_weights(student):
    """The report that the weights fit which a student starts from, where it starts from any."""
    starts = config["align"]["students"][STUDENTS[student][0]]["pretrained"]
    return [results(f"align/{student}/first_weights.json")] if starts else []


def tower_files():
    """The files of the text tower that a CLIP is trained against, where there is one."""
    if TOWER is None:
        return []
    folder = tower_folder(config["data_root"], TOWER)
    return [str(folder / file) for file in load_text_tower(TOWER).files]


def shared_things():
    """What this run shares with others that have the same `data_root` or `store_root`."""
    archives = Path(config["data_root"], "archives")
    things = [shared_store(dataset_facts(dataset), STORES) for dataset in DATASETS]
    if TOWER:
        things.append(shared_download(TOWER, archives, "fetch_text_tower"))
    things += [
        shared_download(file, archives, "fetch_weights", file=file)
        for file in FIRST_WEIGHTS
    ]
    return things


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


def code_of(script, *data):
    """The version of a script and of the modules it imports, for the params of jobs that take seconds."""
    return lambda wildcards: code_version(script, *data)


# --- encoding ---------------------------------------------------------------------------------------------------------


def sweep_batches(line, dataset):
    """Name of a job -> the models that it encodes a data set with; `embed.models_per_job` spreads them over several.

    Where a line is made of others, whose alphas are chosen against the zero-shot model, that has a job of its own.
    """

    def is_encoded(model):
        return all(
            Path(embedding(model, dataset, split)).exists()
            for split in scored_splits(dataset)
        )

    zero_shot = [f"{line}@0"] if LINES[line].parts else []
    models = [model for model in models_of(line) if model not in zero_shot]
    encoded = [model for model in models if is_encoded(model)]
    new = [model for model in models if model not in encoded]
    size = config["embed"]["models_per_job"] or len(ALPHAS)
    batches = {
        "_".join([name, *([str(at // size)] * (len(models) > size))]): models[
            at : at + size
        ]
        for name, models in (("encoded", encoded), ("new", new))
        for at in range(0, len(models), size)
    }
    return {**batches, **({"zero_shot": zero_shot} if zero_shot else {})}


# --- what waits for alpha ---------------------------------------------------------------------------------------------


def selected_alpha(line):
    """The chosen alpha; Snakemake waits for the choice wherever an input function asks."""
    chosen = checkpoints.select_alpha.get(
        line=line, tag=LINES[line].tag
    ).output.selected
    return read_json(Path(chosen))["alpha"]


def chosen_model(line):
    """The encoder that was chosen on a line."""
    return model_at(LINES[line], float(selected_alpha(line)))


def alpha_if_chosen(line):
    """The same for params, which Snakemake also evaluates before the choice is made."""
    selected = Path(of_line(line, "selected.json"))
    return read_json(selected)["alpha"] if selected.exists() else None


def start_of(line):
    """The model that a line starts at, an open_clip directory: CLIP, or what was chosen on another line."""
    start = LINES[line].start
    directory = results(f"clip/{LINES[line].clip}")
    if start:
        selected_alpha(start)
        directory = of_line(start, "patched")
    return dict(
        clip=f"{directory}/open_clip_config.json",
        clip_weights=f"{directory}/open_clip_model.safetensors",
    )


def models_once_alpha_is_chosen(line):
    """Both ends of a line. What depends on alpha waits for the choice, and an unchanged choice reruns nothing."""
    selected_alpha(line)
    return dict(**start_of(line), finetuned=finetuned(line))


def teacher(student):
    """The line on which a student's teacher was chosen."""
    return PATCHED[STUDENTS[student][1]]


def aligned(student):
    """A student's weights. Whatever stands behind the alignment must wait for alpha by itself as well: Snakemake
    looks again only at jobs that wait, and would otherwise rerun the rest although the choice has not changed.
    """
    selected_alpha(teacher(student))
    return results(f"align/{student}/model.safetensors")


def encoded(encoder, dataset, split):
    """What an encoder made of a split, for whoever reads it."""
    if encoder in STUDENTS:
        selected_alpha(teacher(encoder))  # for the same reason
    return embedding(encoder, dataset, split)


# --- what the models are applied to -----------------------------------------------------------------------------------

APPLICATIONS = applications(config)  # name -> images, model, options
MAPS = [results(f"apply/{name}.tif") for name in made_by(config, "map")]
ARCHIVES = [results(f"apply/{name}.parquet") for name in made_by(config, "archive")]


def applied_model(wildcards):
    """The weights of an entry's model, its text side, and what its labels and its confidence are made of."""
    model = APPLICATIONS[wildcards.applied]["model"]
    if model in STUDENTS:
        clip, task, line = clip_of(model), align_task(config), teacher(model)
        files = dict(weights=aligned(model), encoder=model)
    else:
        clip, line = model, PATCHED[model]
        task = LINES[line].patching[0]
        files = dict(
            weights=of_line(line, "patched/open_clip_model.safetensors"),
            encoder=chosen_model(line),
        )
    encoder = files.pop("encoder")
    if "val" in scored_splits(task["dataset"]) and task["dataset"] in EVALUATED:
        files["validation"] = encoded(encoder, task["dataset"], "val")
    return dict(
        **files,
        text=results(f"clip/{clip}/open_clip_config.json"),
        head=task_head(clip, task),
        store=store(task["dataset"]),
    )
