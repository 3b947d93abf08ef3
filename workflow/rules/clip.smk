# Where the zero-shot CLIP comes from. Either way it ends as an open_clip model directory, and nothing after this knows.

if TOWER:

    rule fetch_text_tower:
        """Fetch the text tower that the image encoder is trained against."""
        output:
            files=tower_files(),
        log:
            logs("clip/text_tower.log"),
        benchmark:
            logs("clip/text_tower.tsv")
        localrule: True
        conda:
            "../../envs/data.yaml"
        params:
            tower=TOWER,
            sources=read_yaml("text_towers", TOWER)["sources"],
            checksums=read_yaml("text_towers", TOWER)["files"],
        message:
            f"Fetching {TOWER}"
        script:
            "../scripts/fetch_text_tower.py"


if uses_scratch(config):

    rule scratch_clip:
        """Train a small CLIP contrastively, in place of published weights."""
        input:
            store=store(SCRATCH),
            tower=tower_files(),
        output:
            directory=results("clip/{clip}/open_clip_config.json"),
            weights=results("clip/{clip}/open_clip_model.safetensors"),
            history=results("clip/{clip}/history.jsonl"),
        log:
            logs("clip/{clip}.log"),
        benchmark:
            logs("clip/{clip}.tsv")
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
            mem_mb=memory(pretraining),
            runtime=minutes(pretraining),
        params:
            # Beside the model's directory, which is replaced as a whole.
            checkpoints=results("clip.checkpoints/{clip}"),
            monitor=logs("clip/{clip}"),
            name=lambda w: CLIPS[w.clip][0],
            recipe=needs("clip", "scratch", without=("dataset", "prompts", "text")),
            text=TOWER,
            architecture=lambda w: clip_architecture(CLIPS[w.clip][0]),
            templates=templates(config, config["clip"]["scratch"]["prompts"]),
            nomenclature=dataset_facts(SCRATCH).nomenclature,
            classes=spoken(dataset_facts(SCRATCH).nomenclature),
            seed=config["seed"],
        message:
            "Training {wildcards.clip} from scratch"
        script:
            "../scripts/scratch_clip.py"

else:

    rule fetch_clip:
        """Load published or local CLIP weights, and keep them as an open_clip model directory."""
        output:
            directory=results("clip/{clip}/open_clip_config.json"),
            weights=results("clip/{clip}/open_clip_model.safetensors"),
        log:
            logs("clip/{clip}.log"),
        benchmark:
            logs("clip/{clip}.tsv")
        localrule: True
        conda:
            "../../envs/torch.yaml"
        params:
            name=lambda w: CLIPS[w.clip][0],
            pretrained=lambda w: CLIPS[w.clip][1],
            quick_gelu=config["clip"].get("quick_gelu"),
            # A checkpoint of the user's own may be replaced.
            listing=lambda w: file_listing(CLIPS[w.clip][1]),
            architecture=lambda w: clip_architecture(CLIPS[w.clip][0]),
        message:
            "Loading {wildcards.clip}"
        script:
            "../scripts/fetch_clip.py"
