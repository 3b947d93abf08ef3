rule check_first_weights:
    """Load the weights that a student starts from, so that a file that does not fit stops the run before trainings."""
    input:
        first=lambda w: first_weights(STUDENTS[w.student][0]),
    output:
        report=results("align/{student}/first_weights.json"),
    log:
        logs("align/{student}.first_weights.log"),
    priority: 10
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        student=lambda w: student_facts(config, STUDENTS[w.student][0]),
        listing=lambda w: own_weights(STUDENTS[w.student][0]),
    message:
        "Checking the weights that {wildcards.student} starts from"
    script:
        "../scripts/check_first_weights.py"


rule align:
    """Distil the patched CLIP into a multispectral student. The teacher is interpolated in memory."""
    input:
        unpack(lambda w: models_once_alpha_is_chosen(teacher(w.student))),
        head=lambda w: task_head(clip_of(w.student), align_task(config)),
        store=store(TAUGHT),
        first=lambda w: first_weights(STUDENTS[w.student][0]),
        checked=lambda w: checked_first_weights(w.student),
    output:
        weights=results("align/{student}/model.safetensors"),
        history=results("align/{student}/history.jsonl"),
    log:
        logs("align/{student}.log"),
    benchmark:
        logs("align/{student}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=TRAINING_GPUS,
        gres=NODE_GPUS,
        nodes=TRAINING["nodes"],
        gpu_model=TRAINING_GPU_MODEL,
        slurm_partition=GPU_PARTITION,
        slurm_extra=WARNING,
        mem_mb=memory(aligning),
        runtime=minutes(aligning),
    params:
        checkpoints=results("align/{student}/checkpoints"),
        monitor=logs("align/{student}"),
        nomenclature=nomenclature_of(align_task(config)),
        space=lambda w: clip_of(w.student),
        alpha=lambda w: alpha_if_chosen(teacher(w.student)),
        student=lambda w: student_facts(config, STUDENTS[w.student][0]),
        listing=lambda w: own_weights(STUDENTS[w.student][0]),
        recipe=lambda w: align_recipe(config, STUDENTS[w.student][0]),
        seed=config["seed"],
    message:
        "Aligning {wildcards.student} to the patched CLIP"
    script:
        "../scripts/align.py"
