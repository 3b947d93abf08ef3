# The weights at the end of a line: fine-tuned, or by file.

if run.patched_files:

    rule patched_by_file:
        """Take a patched image encoder from a file, in place of a fine-tuning."""
        input:
            unpack(of_job(run.start_of)),
        output:
            weights=paths.finetuned("{line}", "{tag}"),
        log:
            paths.logs("finetune/{line}.{tag}.log"),
        priority: 10
        localrule: True
        conda:
            "../../envs/torch.yaml"
        params:
            source=of_job(run.patched_file),
            listing=lambda w: file_listing(run.patched_file(w.line)),
            alpha=max(run.alphas),
        message:
            "Loading the patched {wildcards.line} from {params.source}"
        script:
            "../scripts/patched_by_file.py"

else:

    rule finetune:
        """Fine-tune CLIP's image encoder under the frozen text head (PAINT, step 1), on one task or on several jointly."""
        input:
            unpack(of_job(run.start_of)),
            heads=of_job(run.patching_heads),
            stores=of_job(run.patching_stores),
        output:
            weights=paths.finetuned("{line}", "{tag}"),
            history=paths.finetuned("{line}", "{tag}", "history.jsonl"),
        log:
            paths.logs("finetune/{line}.{tag}.log"),
        benchmark:
            paths.logs("finetune/{line}.{tag}.tsv")
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            **asks.training(sizes.finetuning),
        params:
            **how_it_trains(),
            checkpoints=paths.finetuned("{line}", "{tag}", "checkpoints"),
            monitor=paths.logs("finetune/{line}.{tag}"),
            nomenclatures=of_job(run.patching_nomenclatures),
            recipe=lookup(dpath="finetune", within=config),
            seed=seed_of,
        message:
            "Fine-tuning {wildcards.line} on {wildcards.tag}"
        script:
            "../scripts/finetune.py"
