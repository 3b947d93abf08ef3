# What the run's models are applied to: one job a scene or archive.


rule apply_map:
    """Map a scene with one of the run's models."""
    input:
        unpack(applied_model),
    output:
        cover=results("apply/{applied}.tif"),
        summary=results("apply/{applied}.json"),
        picture=results("apply/{applied}.png"),
    log:
        logs("apply/{applied}.map.log"),
    benchmark:
        logs("apply/{applied}.map.tsv")
    wildcard_constraints:
        applied="[A-Za-z0-9_-]+",
    conda:
        "../../envs/use.yaml"
    threads: 8
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        slurm_partition=GPU_PARTITION,
        mem_mb=memory(small_with_torch),
        runtime=int(LONGEST or 24 * 60),
    params:
        entry=lambda w: APPLICATIONS[w.applied],
        settings=lambda w: apply_settings(config, APPLICATIONS[w.applied]["model"]),
        listing=lambda w: file_listing(APPLICATIONS[w.applied]["images"]),
        embed=needs("embed", without=("models_per_job",)),
    message:
        "Mapping {wildcards.applied}"
    script:
        "../scripts/apply.py"


use rule apply_map as apply_archive with:
    output:
        archive=results("apply/{applied}.parquet"),
    log:
        logs("apply/{applied}.archive.log"),
    benchmark:
        logs("apply/{applied}.archive.tsv")
    message:
        "Embedding {wildcards.applied}"
