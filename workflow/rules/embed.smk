# Encode once: these rules are the only ones that run an image encoder for evaluation.
#
# The sweep encodes a data set with many alphas in one pass over its pixels. Its outputs are listed, not matched by
# wildcards, because how the alphas share a job depends on what is there: those already encoded form one job, which
# runs only when something it reads has changed, and new ones another. So an alpha added later is encoded alone.


for clip, dataset in product(CLIPS, EVALUATED):
    for batch, alphas in sweep_batches(clip, dataset).items():

        rule:
            name:
                "_".join(["embed_sweep", *([clip] * (len(CLIPS) > 1)), dataset, batch])
            input:
                clip=results(f"clip/{clip}/open_clip_config.json"),
                clip_weights=results(f"clip/{clip}/open_clip_model.safetensors"),
                finetuned=results(f"finetune/{clip}.{PATCHING}/model.safetensors"),
                store=store(dataset),
            output:
                embeddings=[
                    embedding(patched(clip, alpha), dataset, split)
                    for alpha in alphas
                    for split in scored_splits(dataset)
                ],
            log:
                logs(f"embed/{clip}.{dataset}.{batch}.log"),
            benchmark:
                logs(f"embed/{clip}.{dataset}.{batch}.tsv")
            conda:
                "../../envs/torch.yaml"
            threads: 8
            resources:
                gpu=1,
                mem_mb=lambda w, attempt: 16_000 * attempt,
            params:
                # Which alphas and splits is read from the outputs' names: as a param it would rerun the encoded ones.
                recipe=needs("embed"),
            message:
                f"Encoding {dataset} with {clip} at {len(alphas)} alphas"
            script:
                "../scripts/embed_sweep.py"


rule embed_train:
    """Encode a data set's train split with CLIP at one alpha, for the linear probe."""
    input:
        clip=results("clip/{clip}/open_clip_config.json"),
        clip_weights=results("clip/{clip}/open_clip_model.safetensors"),
        finetuned=results(f"finetune/{{clip}}.{PATCHING}/model.safetensors"),
        store=lambda w: store(w.dataset),
    output:
        embeddings=[results("embeddings/{clip}@{alpha}/{dataset}.train.zarr/zarr.json")],
    log:
        logs("embed/{clip}@{alpha}.{dataset}.train.log"),
    benchmark:
        logs("embed/{clip}@{alpha}.{dataset}.train.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=lambda w, attempt: 16_000 * attempt,
    params:
        recipe=needs("embed"),
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
            mem_mb=lambda w, attempt: 16_000 * attempt,
        params:
            recipe=needs("embed"),
        message:
            f"Encoding {dataset} with {{wildcards.student}}"
        script:
            "../scripts/embed_student.py"
