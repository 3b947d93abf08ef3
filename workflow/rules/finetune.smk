rule finetune:
    """Fine-tune CLIP's image encoder under the frozen text head (PAINT, step 1)."""
    input:
        clip=results("clip/{clip}/open_clip_config.json"),
        head=lambda w: patching_head(w.clip),
        store=lambda w: store(w.dataset),
    output:
        weights=results("finetune/{clip}.{dataset}/model.safetensors"),
        history=results("finetune/{clip}.{dataset}/history.jsonl"),
    log:
        logs("finetune/{clip}.{dataset}.log"),
    benchmark:
        logs("finetune/{clip}.{dataset}.tsv")
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=config["train"]["gpus"],
        nodes=config["train"]["nodes"],
        mem_mb=lambda w, attempt: 16_000 * attempt,
        runtime=training_minutes,
    params:
        checkpoints=results("finetune/{clip}.{dataset}/checkpoints"),
        monitor=logs("finetune/{clip}.{dataset}"),
        nomenclature=task_nomenclature(config, "patching"),
        recipe=needs("finetune"),
        seed=config["seed"],
    message:
        "Fine-tuning {wildcards.clip} on {wildcards.dataset}"
    script:
        "../scripts/finetune.py"
