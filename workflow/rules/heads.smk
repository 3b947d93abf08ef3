rule zero_shot_head:
    """Turn class names and templates into the frozen text head."""
    input:
        clip=lambda w: text_model(w.clip),
    output:
        head=results("heads/{clip}/{dataset}.{nomenclature}.{prompts}.npz"),
    log:
        logs("heads/{clip}/{dataset}.{nomenclature}.{prompts}.log"),
    benchmark:
        logs("heads/{clip}/{dataset}.{nomenclature}.{prompts}.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(small_with_torch),
        runtime=minutes(small_with_torch),
    params:
        nomenclature="{nomenclature}",
        classes=lambda w: spoken(w.nomenclature),
        prompts=lambda w: prompts(config, w.prompts),
    message:
        "Text head of {wildcards.dataset} from the prompts {wildcards.prompts}"
    script:
        "../scripts/head.py"


rule words_head:
    """Embed words that are no class, in the same templates."""
    input:
        clip=lambda w: text_model(w.clip),
    output:
        head=results("heads/{clip}/words/{dataset}.{prompts}.npz"),
    log:
        logs("heads/{clip}/words/{dataset}.{prompts}.log"),
    benchmark:
        logs("heads/{clip}/words/{dataset}.{prompts}.tsv")
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(small_with_torch),
        runtime=minutes(small_with_torch),
    params:
        words=lambda w: WORDS[w.dataset],
        prompts=lambda w: prompts(config, w.prompts),
    message:
        "Text head of words for {wildcards.dataset} from the prompts {wildcards.prompts}"
    script:
        "../scripts/words_head.py"
