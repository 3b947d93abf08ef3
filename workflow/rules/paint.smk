checkpoint select_alpha:
    """Choose alpha on validation data (PAINT, step 2). A checkpoint: what follows depends on what was chosen."""
    input:
        metrics=lambda w: [
            zero_shot_metrics(
                model_at(LINES[w.line], float(alpha)),
                task["dataset"],
                nomenclature_of(task),
                task["prompts"],
            )
            for task in (*LINES[w.line].patching, *LINES[w.line].kept)
            for alpha in ALPHAS
        ],
    output:
        # First, because Snakemake asks for a checkpoint's first output where it has to wait for the choice.
        selected=results("paint/{line}.{tag}/selected.json"),
        curve=results("paint/{line}.{tag}/curve.csv"),
    log:
        logs("paint/{line}.{tag}.select.log"),
    benchmark:
        logs("paint/{line}.{tag}.select.tsv")
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(small),
        runtime=minutes(small),
    params:
        code=code_of("select_alpha"),
        alphas=ALPHAS,
        patching=lambda w: [stated(task) for task in LINES[w.line].patching],
        supported=lambda w: [stated(task) for task in LINES[w.line].kept],
        select=needs("paint", "select"),
    message:
        "Choosing alpha for {wildcards.line} on {wildcards.tag}"
    script:
        "../scripts/select_alpha.py"


rule add_task_vectors:
    """The end of a line whose tasks are patched in parallel: CLIP and the task vectors of the tasks' own lines."""
    input:
        unpack(lambda w: start_of(w.line)),
        finetuned=lambda w: [finetuned(part) for part in LINES[w.line].parts],
        selected=lambda w: [
            of_line(part, "selected.json") for part in LINES[w.line].parts
        ],
    output:
        weights=results("paint/{line}.{tag}/sum.safetensors"),
    log:
        logs("paint/{line}.{tag}.sum.log"),
    benchmark:
        logs("paint/{line}.{tag}.sum.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(small_with_torch),
        runtime=minutes(small_with_torch),
    message:
        "Adding the task vectors of {wildcards.tag}"
    script:
        "../scripts/add_task_vectors.py"


rule patched_clip:
    """Write the patched model, at the chosen alpha, as a model that open_clip loads by itself."""
    input:
        unpack(lambda w: models_once_alpha_is_chosen(w.line)),
    output:
        directory=results("paint/{line}.{tag}/patched/open_clip_config.json"),
        model=results("paint/{line}.{tag}/patched/open_clip_model.safetensors"),
    log:
        logs("paint/{line}.{tag}.patched.log"),
    benchmark:
        logs("paint/{line}.{tag}.patched.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(small_with_torch),
        runtime=minutes(small_with_torch),
    params:
        alpha=lambda w: alpha_if_chosen(w.line),
    message:
        "Writing the patched model of {wildcards.line}"
    script:
        "../scripts/patch.py"
