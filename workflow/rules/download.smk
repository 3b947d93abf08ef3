rule download:
    """Fetch a data set's files and check them against their checksums."""
    output:
        files=paths.files("{dataset}"),
    log:
        shared.logs("download/{dataset}.log"),
    benchmark:
        shared.logs("download/{dataset}.tsv")
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        dataset="{dataset}",
        overrides=of_job(run.download_options),
        sources=lambda w: read_yaml("datasets", w.dataset)["sources"],
        archives=of_job(run.archives),
        listing=of_job(users_files),
        doing=lambda w: doing(run.dataset(w.dataset)),
    message:
        "{params.doing}"
    script:
        "../scripts/download.py"
