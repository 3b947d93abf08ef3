# Which encoder is scored on what, and what the report shows of it; names that the evaluation and its views share.


def zero_shot_metrics(encoder, dataset, nomenclature, prompts):
    return results(
        f"metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.csv"
    )


def draws(encoder, dataset, nomenclature, prompts):
    """The headline of the same on each half-sample."""
    return results(
        f"metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.draws.npz"
    )


def own_prompts(dataset):
    """The prompt set that stands for a data set where one is enough."""
    return main_prompts(config, dataset)


def probed_datasets():
    return (config["evaluate"]["linear_probe"] or {}).get("datasets", [])


def encoders_of(dataset):
    """Every encoder that is known beforehand to be scored zero-shot on a data set."""
    models = [
        model
        for line in LINES
        if dataset in datasets_of(line)
        for model in models_of(line)
    ]
    others = [name for name in others_of(dataset) if OTHERS[name].has_text]
    return [*models, *students_of(dataset), *others]


def shown_encoders(dataset):
    """Those that are scored in every way and known beforehand; the patched models are the others."""
    return [
        *(f"{clip}@0" for clip in CLIPS),
        *students_of(dataset),
        *others_of(dataset),
    ]


def metrics_of(encoder, dataset):
    """The tables of one encoder on one data set, zero-shot classification aside."""
    evaluate, folder = config["evaluate"], results(f"metrics/{encoder}")
    splits, tables = dataset_facts(dataset).splits, []
    has_text = encoder not in OTHERS or OTHERS[encoder].has_text
    nomenclatures = scored_nomenclatures(config, dataset)
    if "test" in splits:
        if evaluate["retrieval"] and encoder in STUDENTS:
            tables.append(f"retrieval.{dataset}")
        if evaluate["gap"]:
            tables.append(f"gap.{dataset}")
        if evaluate["text_retrieval"] and has_text:
            prompts = own_prompts(dataset)
            tables += [f"text-retrieval.{dataset}.{n}.{prompts}" for n in nomenclatures]
        if dataset in WORDS and has_text:
            tables.append(f"words.{dataset}.{nomenclatures[0]}.{own_prompts(dataset)}")
    if dataset in probed_datasets():
        kinds = ["linear-probe"]
        kinds += ["few-shot"] if evaluate["linear_probe"]["shots"] else []
        kinds += ["knn"] if evaluate["knn"] else []
        tables += [f"{kind}.{dataset}.{n}" for kind in kinds for n in nomenclatures]
    return [f"{folder}/{table}.csv" for table in tables]


def metrics_of_the_chosen(wildcards):
    """Those of the patched models; they wait for alpha."""
    return [
        table
        for model in map(chosen_model, PATCHED.values())
        if not model.endswith("@0")
        for dataset in EVALUATED
        for table in metrics_of(model, dataset)
    ]


def sides_of_the_gap(wildcards):
    """What an encoder's embeddings are held against."""
    encoder, dataset = wildcards.encoder, wildcards.dataset
    own = encoded(encoder, dataset, "test")
    if encoder in STUDENTS:
        taught_by = encoded(chosen_model(teacher(encoder)), dataset, "test")
        return dict(rgb=taught_by, multispectral=own)
    sides = dict(rgb=own)
    if encoder not in OTHERS:
        sides["zero_shot"] = embedding(f"{clip_of(encoder)}@0", dataset, "test")
    if encoder not in OTHERS or OTHERS[encoder].has_text:
        nomenclature = scored_nomenclatures(config, dataset)[0]
        sides["head"] = head(
            space_of(encoder), dataset, nomenclature, own_prompts(dataset)
        )
    return sides


# What each encoder's gain is over; `<line>@selected` is the line's model at the alpha that is chosen.
REFERENCES = {
    **{model_at(line, 1): {"gain": f"{line.clip}@0"} for line in LINES.values()},
    **{f"{name}@selected": {"gain": f"{line.clip}@0"} for name, line in LINES.items()},
    **{
        student: {
            "gain": f"{clip}@0",
            "gain_over_patched": f"{PATCHED[clip]}@selected",
        }
        for student, (_, clip) in STUDENTS.items()
        if any(student in students_of(dataset) for dataset in EVALUATED)
    },
}


def draws_of_the_shown(wildcards):
    """Of the encoders that gain and of those that they gain over."""
    chosen = {f"{line}@selected": chosen_model(line) for line in LINES}
    named = {
        *REFERENCES,
        *(other for kinds in REFERENCES.values() for other in kinds.values()),
    }
    encoders = sorted({chosen.get(name, name) for name in named})
    return [
        draws(encoder, dataset, nomenclature, prompts)
        for encoder in encoders
        for dataset in EVALUATED
        if is_scored(encoder, dataset)
        for nomenclature in scored_nomenclatures(config, dataset)
        for prompts in EVALUATED[dataset]
    ]


def is_scored(encoder, dataset):
    """Whether one of our encoders is scored on a data set."""
    if encoder in STUDENTS:
        return encoder in students_of(dataset)
    line = encoder.split("@")[0]
    return encoder.endswith("@0") or dataset in datasets_of(line)


# --- the report -------------------------------------------------------------------------------------------------------


def histories():
    paths = [
        results(f"finetune/{line}.{facts.tag}/history.jsonl")
        for line, facts in LINES.items()
        if not facts.parts
    ]
    paths += [results(f"align/{student}/history.jsonl") for student in STUDENTS]
    first = of_each_clip(results("clip/{clip}/history.jsonl")) if SCRATCH else []
    return [*first, *paths]


# What the report shows of embeddings: of each student, and of a patched CLIP on data sets that no student of it sees.
PICTURED = [
    (shown, dataset)
    for dataset in EVALUATED
    if "test" in scored_splits(dataset)
    for clip, line in PATCHED.items()
    for shown in (
        [student for student in students_of(dataset) if STUDENTS[student][1] == clip]
        or [line]
    )
]


def parts_of_the_report(kind):
    return [
        results(f"report_parts/{kind}.{shown}.{dataset}.json")
        for shown, dataset in PICTURED
    ]


def pictured_line(shown):
    return teacher(shown) if shown in STUDENTS else shown


def pictured_head(wildcards):
    dataset = wildcards.dataset
    return head(
        LINES[pictured_line(wildcards.shown)].clip,
        dataset,
        scored_nomenclatures(config, dataset)[0],
        own_prompts(dataset),
    )


def pictured_words(wildcards):
    """The words that a gallery shows beside the class names; nothing where there are none."""
    dataset = wildcards.dataset
    if dataset not in WORDS:
        return []
    clip = LINES[pictured_line(wildcards.shown)].clip
    return words_head(clip, dataset, own_prompts(dataset))


def pictured_student(wildcards):
    """A student's embeddings; nothing where a CLIP is shown by itself."""
    if wildcards.shown not in STUDENTS:
        return []
    return encoded(wildcards.shown, wildcards.dataset, "test")


def what_students_are(wildcards):
    # Imported here, because planning a run has no need of pandas.
    from bandbridge.reporting.tables.all import ablation_facts

    return ablation_facts(config)
