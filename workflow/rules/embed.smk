# Encode once: these rules are the only ones that run an image encoder for evaluation.
#
# The sweep encodes a data set with many alphas in one pass over its pixels. Which of them share a job depends on what is
# encoded already (sweep_batches), so its rules and outputs are listed, not matched by wildcards.

for seed, one in seeds.each.items():
    for line, dataset, batch, models in sweeps(one.run, seed == next(iter(seeds.each))):
        splits = run.scored_splits(dataset)
        alone = batch == ZERO_SHOT
        of_seed = seeds.several and not (alone and run.shares_zero_shot)
        logged = (one.run.paths if of_seed else shared).logs(
            f"embed/{line}.{dataset}.{batch}"
        )

        rule:
            name:
                "_".join(
                    [
                        "embed_sweep",
                        *([f"seed_{seed}"] * of_seed),
                        *([line] * (len(run.lines) > 1)),
                        dataset,
                        batch,
                    ]
                )
            input:
                unpack(of_job(one.run.start_of, line=line, seed=seed * of_seed or None)),
                finetuned=[] if alone else one.run.ends(line),
                store=paths.store(dataset),
            output:
                embeddings=[
                    one.run.embeddings(model, dataset, split)
                    for model in models
                    for split in splits
                ],
            log:
                f"{logged}.log",
            benchmark:
                f"{logged}.tsv"
            conda:
                "../../envs/torch.yaml"
            threads: 8
            resources:
                **asks.on_gpu(
                    sizes.sweeping, line=line, splits=splits, models=len(models)
                ),
            params:
                models=unrecorded(models),
                splits=unrecorded(splits),
                recipe=without(config["embed"], "models_per_job"),
                space=run.lines[line].clip,
            message:
                f"Encoding {dataset} with {line} at {len(models)} alphas"
            script:
                "../scripts/embed_sweep.py"


rule embed_train:
    """Encode a data set's train split with a line's model at one alpha, for the linear probe."""
    input:
        unpack(of_job(run.start_of)),
        finetuned=of_job(run.line_end),
        store=paths.store("{dataset}"),
    output:
        embeddings=[paths.embeddings("{line}@{alpha}", "{dataset}", "train")],
    log:
        paths.logs("embed/{line}@{alpha}.{dataset}.train.log"),
    benchmark:
        paths.logs("embed/{line}@{alpha}.{dataset}.train.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        **asks.on_gpu(sizes.sweeping, splits=["train"]),
    params:
        models=unrecorded(lambda w: [f"{w.line}@{w.alpha}"]),
        splits=unrecorded(["train"]),
        recipe=without(config["embed"], "models_per_job"),
        space=lambda w: run.lines[w.line].clip,
    message:
        "Encoding the train split of {wildcards.dataset} at alpha {wildcards.alpha}"
    script:
        "../scripts/embed_sweep.py"


if run.shares_zero_shot:

    use rule embed_train as embed_train_zero_shot with:
        output:
            embeddings=[shared.embeddings("{line}@{alpha}", "{dataset}", "train")],
        log:
            shared.logs("embed/{line}@{alpha}.{dataset}.train.log"),
        benchmark:
            shared.logs("embed/{line}@{alpha}.{dataset}.train.tsv")


# All splits of a data set are one job, so data sets that have the same splits share a rule.
for splits, datasets in run.datasets_by_splits(run.evaluated).items():

    rule:
        name:
            "_".join(["embed_student", *(splits * (len(splits) < 3))])
        input:
            student=of_job(run.aligned),
            store=paths.store("{dataset}"),
        output:
            embeddings=[
                paths.embeddings("{student}", "{dataset}", split) for split in splits
            ],
        log:
            paths.logs("embed/{student}.{dataset}.log"),
        benchmark:
            paths.logs("embed/{student}.{dataset}.tsv")
        wildcard_constraints:
            dataset=one_of(datasets),
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            **asks.on_gpu(sizes.encoding_by_student, splits=splits),
        params:
            name=unrecorded(lambda w: w.student),
            splits=unrecorded(list(splits)),
            recipe=without(config["embed"], "models_per_job"),
        message:
            "Encoding {wildcards.dataset} with {wildcards.student}"
        script:
            "../scripts/embed_student.py"

    rule:
        name:
            "_".join(["embed_other", *(splits * (len(splits) < 3))])
        input:
            encoder=shared.encoder("{other}"),
            store=paths.store("{dataset}"),
        output:
            embeddings=[
                shared.embeddings("{other}", "{dataset}", split) for split in splits
            ],
        log:
            shared.logs("embed/{other}.{dataset}.log"),
        benchmark:
            shared.logs("embed/{other}.{dataset}.tsv")
        wildcard_constraints:
            dataset=one_of(datasets),
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            **asks.on_gpu(sizes.encoding_by_another, splits=splits),
        params:
            splits=unrecorded(list(splits)),
            recipe=without(config["embed"], "models_per_job"),
        message:
            "Encoding {wildcards.dataset} with {wildcards.other}"
        script:
            "../scripts/embed_encoder.py"
