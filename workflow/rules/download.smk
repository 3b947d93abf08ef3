rule download:
    """Fetch a data set's files and check them against their checksums."""
    output:
        files=archive("{dataset}/files.json"),
    log:
        logs("download/{dataset}.log"),
    benchmark:
        logs("download/{dataset}.tsv")
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        dataset="{dataset}",
        sources=lambda w: read_yaml("datasets", w.dataset)["sources"],
        archive=lambda w: dataset_facts(w.dataset).options.get("archive") or "",
    message:
        "Downloading {wildcards.dataset}"
    script:
        "../scripts/download.py"
