# What the run's models are applied to: one job a scene or archive.

from bandbridge.config.apply import applications, apply_settings, made_by

APPLICATIONS = applications(config)  # name -> images, model, options
MAPS = [results(f"apply/{name}.tif") for name in made_by(config, "map")]
ARCHIVES = [results(f"apply/{name}.parquet") for name in made_by(config, "archive")]


def applied_model(wildcards):
    """The weights of an entry's model, its text side, and what its labels and its confidence are made of."""
    model = APPLICATIONS[wildcards.applied]["model"]
    if model in STUDENTS:
        clip, task, line = clip_of(model), align_task(config), teacher(model)
        files = dict(weights=aligned(model), encoder=model)
    else:
        clip, line = model, PATCHED[model]
        task = LINES[line].patching[0]
        files = dict(
            weights=of_line(line, "patched/open_clip_model.safetensors"),
            encoder=chosen_model(line),
        )
    encoder = files.pop("encoder")
    if "val" in scored_splits(task["dataset"]) and task["dataset"] in EVALUATED:
        files["validation"] = encoded(encoder, task["dataset"], "val")
    return dict(
        **files,
        text=results(f"clip/{clip}/open_clip_config.json"),
        head=task_head(clip, task),
        store=store(task["dataset"]),
    )


rule apply_map:
    """Map a scene with one of the run's models."""
    input:
        unpack(applied_model),
    output:
        cover=results("apply/{applied}.tif"),
        summary=results("apply/{applied}.json"),
    log:
        logs("apply/{applied}.map.log"),
    benchmark:
        logs("apply/{applied}.map.tsv")
    wildcard_constraints:
        applied="[A-Za-z0-9_-]+",
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        slurm_partition=GPU_PARTITION,
        mem_mb=memory(small_with_torch),
        runtime=LONGEST or 24 * 60,
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
