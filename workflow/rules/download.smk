rule download:
    """Fetch a data set's files and check them against their checksums."""
    output:
        files=files("{dataset}"),
    log:
        logs("download/{dataset}.log"),
    benchmark:
        logs("download/{dataset}.tsv")
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        dataset="{dataset}",
        # What decides which files are fetched.
        overrides=lambda w: overrides(
            w.dataset, only=["archive", "modalities", "table"]
        ),
        sources=lambda w: read_yaml("datasets", w.dataset)["sources"],
        archives=lambda w: archives(w.dataset),
        listing=lambda w: users_listing(w.dataset),
        doing=lambda w: doing(dataset_facts(w.dataset)),
    message:
        "{params.doing}"
    script:
        "../scripts/download.py"
