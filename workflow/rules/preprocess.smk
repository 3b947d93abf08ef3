rule plan:
    """List the samples a data set should have, in the order of its store."""
    input:
        files=files("{dataset}"),
    output:
        plan=parts("{dataset}/plan.csv"),
    log:
        logs("plan/{dataset}.log"),
    benchmark:
        logs("plan/{dataset}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(joining),
        runtime=minutes(joining),
    params:
        dataset="{dataset}",
        overrides=lambda w: overrides(w.dataset, without=["convert_jobs"]),
        facts=lambda w: conversion_facts(dataset_facts(w.dataset)),
        archives=lambda w: archives(w.dataset),
    message:
        "Planning {wildcards.dataset}"
    script:
        "../scripts/plan.py"


rule convert:
    """Convert a share of one stream of a data set; a job that was killed goes on where it stopped."""
    input:
        files=files("{dataset}"),
        plan=parts("{dataset}/plan.csv"),
    output:
        records=parts("{dataset}/{stream}.{share}-of-{shares}/records.npz"),
    log:
        logs("convert/{dataset}.{stream}.{share}-of-{shares}.log"),
    benchmark:
        logs("convert/{dataset}.{stream}.{share}-of-{shares}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(converting),
        runtime=minutes(converting),
    params:
        dataset="{dataset}",
        overrides=lambda w: overrides(w.dataset, without=["convert_jobs"]),
        facts=lambda w: conversion_facts(dataset_facts(w.dataset)),
        archives=lambda w: archives(w.dataset),
        listing=lambda w: users_listing(w.dataset),
        stream="{stream}",
        share="{share}",
        shares="{shares}",
    message:
        "Converting {wildcards.dataset} ({wildcards.stream}, {wildcards.share} of {wildcards.shares})"
    script:
        "../scripts/convert.py"


rule preprocess:
    """Join what was converted to one Zarr store."""
    input:
        files=files("{dataset}"),
        plan=parts("{dataset}/plan.csv"),
        records=lambda w: converted(w.dataset),
    output:
        store=store("{dataset}"),
    log:
        logs("preprocess/{dataset}.log"),
    benchmark:
        logs("preprocess/{dataset}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(joining),
        runtime=minutes(joining),
    params:
        dataset="{dataset}",
        overrides=lambda w: overrides(w.dataset, without=["convert_jobs"]),
        facts=lambda w: read_yaml("datasets", w.dataset),
        nomenclatures=lambda w: class_names_and_maps(w.dataset),
        max_quarantined_share=needs("preprocess", "max_quarantined_share"),
        # No output, which Snakemake would delete when the list is needed most: after the job has failed.
        quarantine=quarantine("{dataset}"),
    message:
        "Preprocessing {wildcards.dataset}"
    script:
        "../scripts/preprocess.py"
