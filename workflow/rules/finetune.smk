rule finetune:
    """Fine-tune CLIP's image encoder under the frozen text head (PAINT, step 1), on one task or on several jointly."""
    input:
        unpack(lambda w: start_of(w.line)),
        heads=lambda w: [
            task_head(LINES[w.line].clip, task) for task in LINES[w.line].patching
        ],
        stores=lambda w: [store(task["dataset"]) for task in LINES[w.line].patching],
    output:
        weights=results("finetune/{line}.{tag}/model.safetensors"),
        history=results("finetune/{line}.{tag}/history.jsonl"),
    log:
        logs("finetune/{line}.{tag}.log"),
    benchmark:
        logs("finetune/{line}.{tag}.tsv")
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
        mem_mb=memory(finetuning),
        runtime=minutes(finetuning),
    params:
        checkpoints=results("finetune/{line}.{tag}/checkpoints"),
        monitor=logs("finetune/{line}.{tag}"),
        nomenclatures=lambda w: [
            nomenclature_of(task) for task in LINES[w.line].patching
        ],
        recipe=needs("finetune"),
        seed=config["seed"],
    message:
        "Fine-tuning {wildcards.line} on {wildcards.tag}"
    script:
        "../scripts/finetune.py"
