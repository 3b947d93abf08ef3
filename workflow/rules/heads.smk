rule zero_shot_head:
    """Turn class names and templates into the frozen text head."""
    input:
        clip=of_job(run.text_model),
    output:
        head=run.clip_paths.head("{clip}", "{dataset}", "{nomenclature}", "{prompts}"),
    log:
        run.clip_paths.logs("heads/{clip}/{dataset}.{nomenclature}.{prompts}.log"),
    benchmark:
        run.clip_paths.logs("heads/{clip}/{dataset}.{nomenclature}.{prompts}.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks.of(small, torch=True),
    params:
        nomenclature="{nomenclature}",
        classes=lambda w: spoken(w.nomenclature),
        prompts=lambda w: prompts(config, w.prompts),
    message:
        "Text head of {wildcards.dataset} from the prompts {wildcards.prompts}"
    script:
        "../scripts/head.py"


rule words_head:
    """Embed words that are not class names, in the same templates."""
    input:
        clip=of_job(run.text_model),
    output:
        head=run.clip_paths.words_head("{clip}", "{dataset}", "{prompts}"),
    log:
        run.clip_paths.logs("heads/{clip}/words/{dataset}.{prompts}.log"),
    benchmark:
        run.clip_paths.logs("heads/{clip}/words/{dataset}.{prompts}.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks.of(small, torch=True),
    params:
        words=of_job(run.words_of),
        prompts=lambda w: prompts(config, w.prompts),
    message:
        "Text head of words for {wildcards.dataset} from the prompts {wildcards.prompts}"
    script:
        "../scripts/words_head.py"
