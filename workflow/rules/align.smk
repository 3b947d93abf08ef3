rule align:
    """Distil the patched CLIP into a multispectral student. The teacher is interpolated in memory."""
    input:
        unpack(lambda w: models_once_alpha_is_chosen(teacher(w.student))),
        head=lambda w: task_head(clip_of(w.student), align_task(config)),
        store=store(TAUGHT),
        first=lambda w: first_weights(STUDENTS[w.student][0]),
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
