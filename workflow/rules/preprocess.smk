rule plan:
    """List the samples a data set should have, in the order of its store."""
    input:
        files=paths.files("{dataset}"),
    output:
        plan=paths.plan("{dataset}"),
    log:
        shared.logs("plan/{dataset}.log"),
    benchmark:
        shared.logs("plan/{dataset}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(sizes.joining),
    params:
        dataset="{dataset}",
        overrides=of_job(run.conversion_options),
        facts=lambda w: conversion_facts(run.dataset(w.dataset)),
        archives=of_job(run.archives),
        # Although `files` changes with it: that list is the same where images in a folder are others.
        listing=of_job(users_files),
    message:
        "Planning {wildcards.dataset}"
    script:
        "../scripts/plan.py"


rule convert:
    """Convert a share of one stream of a data set; a job that was killed resumes."""
    input:
        files=paths.files("{dataset}"),
        plan=paths.plan("{dataset}"),
    output:
        records=paths.converted("{dataset}", "{stream}", "{share}", "{shares}"),
    log:
        shared.logs("convert/{dataset}.{stream}.{share}-of-{shares}.log"),
    benchmark:
        shared.logs("convert/{dataset}.{stream}.{share}-of-{shares}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(sizes.converting),
    params:
        dataset="{dataset}",
        overrides=of_job(run.conversion_options),
        facts=lambda w: conversion_facts(run.dataset(w.dataset)),
        archives=of_job(run.archives),
        listing=of_job(users_files),
        stream="{stream}",
        share="{share}",
        shares="{shares}",
    message:
        "Converting {wildcards.dataset} ({wildcards.stream}, {wildcards.share} of {wildcards.shares})"
    script:
        "../scripts/convert.py"


rule preprocess:
    """Join the converted shares to one Zarr store."""
    input:
        files=paths.files("{dataset}"),
        plan=paths.plan("{dataset}"),
        records=of_job(run.converted),
    output:
        store=paths.store("{dataset}"),
    log:
        shared.logs("preprocess/{dataset}.log"),
    benchmark:
        shared.logs("preprocess/{dataset}.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(sizes.joining),
    params:
        dataset="{dataset}",
        overrides=of_job(run.conversion_options),
        facts=lambda w: read_yaml("datasets", w.dataset),
        nomenclatures=of_job(run.class_names_and_maps),
        max_quarantined_share=lookup(
            dpath="preprocess/max_quarantined_share", within=config
        ),
        # Not an output: Snakemake would delete it after a failed job, when the list is needed most.
        quarantine=paths.quarantine("{dataset}"),
    message:
        "Preprocessing {wildcards.dataset}"
    script:
        "../scripts/preprocess.py"
