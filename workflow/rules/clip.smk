# The zero-shot CLIP, trained or loaded. Both rules write an open_clip model directory, so later rules need not know which.

if run.tower:

    rule fetch_text_tower:
        """Fetch the text tower that the image encoder is trained against."""
        output:
            files=run.tower_files(),
        log:
            shared.logs("clip/text_tower.log"),
        benchmark:
            shared.logs("clip/text_tower.tsv")
        localrule: True
        conda:
            "../../envs/data.yaml"
        params:
            tower=run.tower,
            sources=read_yaml("text_towers", run.tower)["sources"],
            checksums=read_yaml("text_towers", run.tower)["files"],
        message:
            f"Fetching {run.tower}"
        script:
            "../scripts/fetch_text_tower.py"


if run.scratch:

    rule scratch_clip:
        """Train a small CLIP contrastively, in place of published weights."""
        input:
            store=paths.store(run.scratch),
            tower=run.tower_files(),
        output:
            directory=run.clip_paths.clip("{clip}"),
            weights=run.clip_paths.clip("{clip}", "open_clip_model.safetensors"),
            history=run.clip_paths.clip("{clip}", "history.jsonl"),
        log:
            run.clip_paths.logs("clip/{clip}.log"),
        benchmark:
            run.clip_paths.logs("clip/{clip}.tsv")
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            **asks.training(sizes.pretraining),
        params:
            **how_it_trains(),
            # Not in the model's directory, which is replaced as a whole.
            checkpoints=run.clip_paths.results("clip.checkpoints/{clip}"),
            monitor=run.clip_paths.logs("clip/{clip}"),
            name=of_job(run.architecture_name),
            recipe=without(config["clip"]["scratch"], "dataset", "prompts", "text"),
            text=run.tower,
            architecture=of_job(run.architecture),
            templates=templates(config, config["clip"]["scratch"]["prompts"]),
            nomenclature=run.dataset(run.scratch).nomenclature,
            classes=spoken(run.dataset(run.scratch).nomenclature),
            seed=seed_of,
        message:
            "Training {wildcards.clip} from scratch"
        script:
            "../scripts/scratch_clip.py"

else:

    rule fetch_clip:
        """Load published or local CLIP weights, and keep them as an open_clip model directory."""
        output:
            directory=run.clip_paths.clip("{clip}"),
            weights=run.clip_paths.clip("{clip}", "open_clip_model.safetensors"),
        log:
            run.clip_paths.logs("clip/{clip}.log"),
        benchmark:
            run.clip_paths.logs("clip/{clip}.tsv")
        localrule: True
        conda:
            "../../envs/torch.yaml"
        params:
            name=of_job(run.architecture_name),
            pretrained=of_job(run.clip_source),
            quick_gelu=config["clip"].get("quick_gelu"),
            # The user may replace a checkpoint of their own.
            listing=lambda w: file_listing(run.clip_source(w.clip)),
            architecture=of_job(run.architecture),
        message:
            "Loading {wildcards.clip}"
        script:
            "../scripts/fetch_clip.py"
