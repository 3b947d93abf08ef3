# Encode once: these rules are the only ones that run an image encoder for evaluation.
#
# The sweep encodes a data set with many alphas in one pass over its pixels. Its outputs are listed, not matched by
# wildcards, because how the alphas share a job depends on what is there: those already encoded form one job, which
# runs only when something it reads has changed, and new ones another. So an alpha added later is encoded alone.


for line, dataset in product(LINES, EVALUATED):
    if dataset in datasets_of(line):
        for batch, models in sweep_batches(line, dataset).items():

            rule:
                name:
                    "_".join(
                        ["embed_sweep", *([line] * (len(LINES) > 1)), dataset, batch]
                    )
                input:
                    unpack(lambda w, line=line: start_of(line)),
                    finetuned=[] if batch == "zero_shot" else finetuned(line),
                    store=store(dataset),
                output:
                    embeddings=[
                        embedding(model, dataset, split)
                        for model in models
                        for split in scored_splits(dataset)
                    ],
                log:
                    logs(f"embed/{line}.{dataset}.{batch}.log"),
                benchmark:
                    logs(f"embed/{line}.{dataset}.{batch}.tsv")
                conda:
                    "../../envs/torch.yaml"
                threads: 8
                resources:
                    gpu=1,
                    gpu_model=GPU_MODEL,
                    slurm_partition=GPU_PARTITION,
                    mem_mb=memory(
                        encoding(
                            lambda w, line=line: clip_cost(LINES[line].clip),
                            scored_splits(dataset),
                            len(models),
                        )
                    ),
                    runtime=minutes(
                        encoding(
                            lambda w, line=line: clip_cost(LINES[line].clip),
                            scored_splits(dataset),
                            len(models),
                        )
                    ),
                params:
                    # Which models and splits is read from the outputs' names: as a param it would rerun the encoded ones.
                    recipe=needs("embed", without=("models_per_job",)),
                    space=LINES[line].clip,
                message:
                    f"Encoding {dataset} with {line} at {len(models)} alphas"
                script:
                    "../scripts/embed_sweep.py"


rule embed_train:
    """Encode a data set's train split with a line's model at one alpha, for the linear probe."""
    input:
        unpack(lambda w: start_of(w.line)),
        finetuned=lambda w: [] if w.alpha == "0" else finetuned(w.line),
        store=lambda w: store(w.dataset),
    output:
        embeddings=[results("embeddings/{line}@{alpha}/{dataset}.train.zarr/zarr.json")],
    log:
        logs("embed/{line}@{alpha}.{dataset}.train.log"),
    benchmark:
        logs("embed/{line}@{alpha}.{dataset}.train.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        slurm_partition=GPU_PARTITION,
        mem_mb=memory(encoding(lambda w: clip_cost(LINES[w.line].clip), ["train"])),
        runtime=minutes(encoding(lambda w: clip_cost(LINES[w.line].clip), ["train"])),
    params:
        recipe=needs("embed", without=("models_per_job",)),
        space=lambda w: LINES[w.line].clip,
    message:
        "Encoding the train split of {wildcards.dataset} at alpha {wildcards.alpha}"
    script:
        "../scripts/embed_sweep.py"


for dataset in filter(students_of, EVALUATED):

    rule:
        name:
            f"embed_student_{dataset}"
        input:
            student=lambda w: aligned(w.student),
            store=store(dataset),
        output:
            embeddings=[
                results(f"embeddings/{{student}}/{dataset}.{split}.zarr/zarr.json")
                for split in dataset_facts(dataset).splits
            ],
        log:
            logs(f"embed/{{student}}.{dataset}.log"),
        benchmark:
            logs(f"embed/{{student}}.{dataset}.tsv")
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            gpu=1,
            gpu_model=GPU_MODEL,
            slurm_partition=GPU_PARTITION,
            mem_mb=memory(
                encoding(
                    lambda w: demands.student_network(
                        student_facts(config, STUDENTS[w.student][0])
                    ),
                    dataset_facts(dataset).splits,
                )
            ),
            runtime=minutes(
                encoding(
                    lambda w: demands.student_network(
                        student_facts(config, STUDENTS[w.student][0])
                    ),
                    dataset_facts(dataset).splits,
                )
            ),
        params:
            recipe=needs("embed", without=("models_per_job",)),
        message:
            f"Encoding {dataset} with {{wildcards.student}}"
        script:
            "../scripts/embed_student.py"
