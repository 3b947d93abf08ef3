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
        gpu=1,
        mem_mb=lambda w, attempt: 16_000 * attempt,
        runtime=training_minutes,
    params:
        nomenclature=task_nomenclature(config, "patching"),
        alpha=chosen_alpha,
        student=lambda w: needs("align", "students", STUDENTS[w.student][0]),
        recipe=needs("align", without=("students",)),
        seed=config["seed"],
    message:
        "Aligning {wildcards.student} to the patched CLIP"
    script:
        "../scripts/align.py"
