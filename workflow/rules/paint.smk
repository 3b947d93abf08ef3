checkpoint select_alpha:
    """Choose alpha on validation data (PAINT, step 2). A checkpoint: later jobs depend on the choice."""
    input:
        metrics=of_job(run.scores_to_choose_by),
    output:
        # First, because Snakemake waits for the first output of a checkpoint.
        selected=paths.paint("{line}", "{tag}", "selected.json"),
        curve=paths.paint("{line}", "{tag}", "curve.csv"),
    log:
        paths.logs("paint/{line}.{tag}.select.log"),
    benchmark:
        paths.logs("paint/{line}.{tag}.select.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(small),
    params:
        code=code_of("select_alpha"),
        line="{line}",
        alphas=run.alpha_names,
        patching=of_job(run.stated_patching),
        supported=of_job(run.stated_kept),
        select=lookup(dpath="paint/select", within=config),
    message:
        "Choosing alpha for {wildcards.line} on {wildcards.tag}"
    script:
        "../scripts/select_alpha.py"


rule search_coefficients:
    """Search one coefficient per task that is patched in parallel, on validation data, from the tasks' own alphas on."""
    input:
        unpack(of_job(run.start_of)),
        finetuned=of_job(run.finetuned_parts),
        selected=of_job(run.selected_parts),
        heads=of_job(run.judging_heads),
        stores=of_job(run.judging_stores),
    output:
        coefficients=paths.paint("{line}", "{tag}", "coefficients.json"),
    log:
        paths.logs("paint/{line}.{tag}.coefficients.log"),
    benchmark:
        paths.logs("paint/{line}.{tag}.coefficients.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        **asks.on_gpu(sizes.searching),
    params:
        tasks=of_job(run.judging_tasks),
        alphas=run.alpha_names,
        select=lookup(dpath="paint/select", within=config),
        most=config["paint"].get("most_models"),
        recipe=without(config["embed"], "models_per_job"),
    message:
        "Searching coefficients of {wildcards.tag}"
    script:
        "../scripts/search_coefficients.py"


rule add_task_vectors:
    """The end of a line whose tasks are patched in parallel: CLIP and the task vectors of the tasks' own lines."""
    input:
        unpack(of_job(run.start_of)),
        finetuned=of_job(run.finetuned_parts),
        selected=of_job(run.coefficients),
    output:
        weights=paths.paint("{line}", "{tag}", "sum.safetensors"),
    log:
        paths.logs("paint/{line}.{tag}.sum.log"),
    benchmark:
        paths.logs("paint/{line}.{tag}.sum.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks.of(small, torch=True),
    message:
        "Adding the task vectors of {wildcards.tag}"
    script:
        "../scripts/add_task_vectors.py"


rule patched_clip:
    """Write the patched model, at the chosen alpha, as a model directory that open_clip loads."""
    input:
        unpack(of_job(run.ends_of)),
    output:
        directory=paths.paint("{line}", "{tag}", "patched/open_clip_config.json"),
        model=paths.paint("{line}", "{tag}", "patched/open_clip_model.safetensors"),
    log:
        paths.logs("paint/{line}.{tag}.patched.log"),
    benchmark:
        paths.logs("paint/{line}.{tag}.patched.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks.of(small, torch=True),
    params:
        alpha=of_job(run.alpha_if_chosen),
    message:
        "Writing the patched model of {wildcards.line}"
    script:
        "../scripts/patch.py"
