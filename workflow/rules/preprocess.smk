rule preprocess:
    """Read a data set from its archives into one Zarr store."""
    input:
        files=archive("{dataset}/files.json"),
    output:
        store=store("{dataset}"),
        quarantine=quarantine("{dataset}"),
    log:
        logs("preprocess/{dataset}.log"),
    benchmark:
        logs("preprocess/{dataset}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=2_000,
    params:
        dataset="{dataset}",
        overrides=lambda w: overrides(w.dataset),
        facts=lambda w: read_yaml("datasets", w.dataset),
        classes=lambda w: load_nomenclature(
            dataset_facts(w.dataset).nomenclature
        ).classes,
    message:
        "Preprocessing {wildcards.dataset}"
    script:
        "../scripts/preprocess.py"
