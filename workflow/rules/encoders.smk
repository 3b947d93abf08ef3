# Encoders that are not made here: published or local weights, kept so that the rest of the workflow need not know whose.


for encoder, facts in OTHERS.items():

    rule:
        name:
            f"fetch_encoder_{encoder}"
        output:
            **({"clip": text_model(encoder)} if facts.has_text else {}),
            encoder=brought(encoder),
        log:
            logs(f"encoders/{encoder}.log"),
        benchmark:
            logs(f"encoders/{encoder}.tsv")
        localrule: True
        conda:
            "../../envs/torch.yaml"
        params:
            facts=encoder_content(
                encoder, unpinned=encoder in unpinned_encoders(config)
            ),
            archives=f"{config['data_root']}/archives/encoders",
            checkpoint=facts.checkpoint,
            listing=file_listing(facts.checkpoint),
        message:
            f"Loading {encoder}"
        script:
            "../scripts/fetch_encoder.py"


rule fetch_weights:
    """Fetch the published weights that a student starts from."""
    output:
        weights=f"{config['data_root']}/archives/encoders/{{file}}",
    log:
        logs("encoders/{file}.log"),
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        facts=lambda w: encoder_content(
            FIRST_WEIGHTS[w.file],
            unpinned=FIRST_WEIGHTS[w.file] in unpinned_encoders(config),
        ),
    message:
        "Fetching {wildcards.file}"
    script:
        "../scripts/fetch_weights.py"


for dataset in filter(others_of, EVALUATED):

    rule:
        name:
            f"embed_other_{dataset}"
        input:
            encoder=lambda w: brought(w.other),
            store=store(dataset),
        output:
            embeddings=[
                results(f"embeddings/{{other}}/{dataset}.{split}.zarr/zarr.json")
                for split in dataset_facts(dataset).splits
            ],
        log:
            logs(f"embed/{{other}}.{dataset}.log"),
        benchmark:
            logs(f"embed/{{other}}.{dataset}.tsv")
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            gpu=1,
            gpu_model=GPU_MODEL,
            slurm_partition=GPU_PARTITION,
            mem_mb=memory(
                encoding(lambda w: demands.UNKNOWN, dataset_facts(dataset).splits)
            ),
            runtime=minutes(
                encoding(lambda w: demands.UNKNOWN, dataset_facts(dataset).splits)
            ),
        params:
            recipe=needs("embed", without=("models_per_job",)),
        message:
            f"Encoding {dataset} with {{wildcards.other}}"
        script:
            "../scripts/embed_encoder.py"
