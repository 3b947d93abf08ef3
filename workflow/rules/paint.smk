checkpoint select_alpha:
    """Choose alpha on validation data (PAINT, step 2). A checkpoint: what follows depends on what was chosen."""
    input:
        metrics=lambda w: [
            zero_shot_metrics(
                patched(w.clip, alpha),
                task["dataset"],
                task_nomenclature(config, role),
                task["prompts"],
            )
            for role, task in config["tasks"].items()
            if task
            for alpha in ALPHAS
        ],
    output:
        curve=results("paint/{clip}.{dataset}/curve.csv"),
        selected=results("paint/{clip}.{dataset}/selected.json"),
    log:
        logs("paint/{clip}.{dataset}.select.log"),
    benchmark:
        logs("paint/{clip}.{dataset}.select.tsv")
    conda:
        "../../envs/data.yaml"
    params:
        alphas=ALPHAS,
        tasks={
            role: task and {**task, "nomenclature": task_nomenclature(config, role)}
            for role, task in config["tasks"].items()
        },
        select=needs("paint", "select"),
    message:
        "Choosing alpha"
    script:
        "../scripts/select_alpha.py"


rule patched_clip:
    """Write the patched model, at the chosen alpha, as a model that open_clip loads by itself."""
    input:
        unpack(models_once_alpha_is_chosen),
    output:
        directory=results("paint/{clip}.{dataset}/patched/open_clip_config.json"),
        model=results("paint/{clip}.{dataset}/patched/open_clip_model.safetensors"),
    log:
        logs("paint/{clip}.{dataset}.patched.log"),
    benchmark:
        logs("paint/{clip}.{dataset}.patched.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=8_000,
    params:
        alpha=chosen_alpha,
    message:
        "Writing the patched model"
    script:
        "../scripts/patch.py"
