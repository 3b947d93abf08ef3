rule align:
    """Distil the patched CLIP into a multispectral student. The teacher is interpolated in memory."""
    input:
        unpack(models_once_alpha_is_chosen),
        head=lambda w: patching_head(clip_of(w.student)),
        store=store(PATCHING),
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
        gpu=config["train"]["gpus"],
        nodes=config["train"]["nodes"],
        mem_mb=lambda w, attempt: 16_000 * attempt,
        runtime=training_minutes,
    params:
        checkpoints=results("align/{student}/checkpoints"),
        monitor=logs("align/{student}"),
        nomenclature=task_nomenclature(config, "patching"),
        alpha=chosen_alpha,
        student=lambda w: student_facts(config, STUDENTS[w.student][0]),
        recipe=lambda w: align_recipe(config, STUDENTS[w.student][0]),
        seed=config["seed"],
    message:
        "Aligning {wildcards.student} to the patched CLIP"
    script:
        "../scripts/align.py"
