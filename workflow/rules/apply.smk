# Applying the run's models: one job per scene or archive.


rule apply_map:
    """Map a scene with one of the run's models."""
    input:
        unpack(of_job(applied.model_files)),
    output:
        cover=paths.applied("{applied}", "tif"),
        summary=paths.applied("{applied}", "json"),
        picture=paths.applied("{applied}", "png"),
    log:
        paths.logs("apply/{applied}.map.log"),
    benchmark:
        paths.logs("apply/{applied}.map.tsv")
    wildcard_constraints:
        applied="[A-Za-z0-9_-]+",
    conda:
        "../../envs/use.yaml"
    threads: 8
    resources:
        **asks.on_gpu(applying),
    params:
        entry=of_job(applied.entry),
        settings=of_job(applied.settings),
        listing=lambda w: file_listing(*applied.users_files(w.applied)),
        embed=without(config["embed"], "models_per_job"),
    message:
        "Mapping {wildcards.applied}"
    script:
        "../scripts/apply.py"


use rule apply_map as apply_archive with:
    output:
        archive=paths.applied("{applied}", "parquet"),
    log:
        paths.logs("apply/{applied}.archive.log"),
    benchmark:
        paths.logs("apply/{applied}.archive.tsv")
    message:
        "Embedding {wildcards.applied}"
