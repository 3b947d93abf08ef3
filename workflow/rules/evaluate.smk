# Score many: everything here reads embeddings and runs on the CPU in seconds.


rule score_zero_shot:
    """Zero-shot classification with one prompt set."""
    input:
        embeddings=lambda w: [
            encoded(w.encoder, w.dataset, split) for split in scored_splits(w.dataset)
        ],
        head=lambda w: head(clip_of(w.encoder), w.dataset, w.nomenclature, w.prompts),
        store=lambda w: store(w.dataset),
    output:
        metrics=results(
            "metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.csv"
        ),
    log:
        logs("metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.log"),
    conda:
        "../../envs/data.yaml"
    params:
        run=config["run"],
        nomenclature="{nomenclature}",
        prompts="{prompts}",
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Scoring {wildcards.encoder} on {wildcards.dataset} with the prompts {wildcards.prompts}"
    script:
        "../scripts/score_zero_shot.py"


rule score_retrieval:
    """Retrieval between the patched CLIP's RGB and the student's multispectral embeddings of the test split."""
    input:
        rgb=lambda w: encoded(chosen_model(teacher(w.student)), w.dataset, "test"),
        multispectral=lambda w: encoded(w.student, w.dataset, "test"),
    output:
        metrics=results("metrics/{student}/retrieval.{dataset}.csv"),
    log:
        logs("metrics/{student}/retrieval.{dataset}.log"),
    conda:
        "../../envs/data.yaml"
    params:
        run=config["run"],
        ks=lambda w: needs("evaluate", "retrieval", "ks"),
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Retrieval between RGB and {wildcards.student} on {wildcards.dataset}"
    script:
        "../scripts/score_retrieval.py"


rule score_probe:
    """A linear probe on frozen embeddings."""
    input:
        train=lambda w: encoded(w.encoder, w.dataset, "train"),
        val=lambda w: encoded(w.encoder, w.dataset, "val"),
        test=lambda w: encoded(w.encoder, w.dataset, "test"),
        store=lambda w: store(w.dataset),
    output:
        metrics=results("metrics/{encoder}/linear-probe.{dataset}.{nomenclature}.csv"),
    log:
        logs("metrics/{encoder}/linear-probe.{dataset}.{nomenclature}.log"),
    conda:
        "../../envs/data.yaml"
    params:
        run=config["run"],
        recipe=lambda w: needs("evaluate", "linear_probe", without=("datasets",)),
        nomenclature="{nomenclature}",
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Linear probe of {wildcards.encoder} on {wildcards.dataset}"
    script:
        "../scripts/score_probe.py"


rule collect_metrics:
    """One tidy table of every number."""
    input:
        metrics=[
            table
            for dataset in EVALUATED
            for table in metrics_of(encoders_of(dataset), dataset)
        ],
        chosen=metrics_of_the_chosen,
    output:
        table=results("metrics.csv"),
    log:
        logs("metrics.log"),
    conda:
        "../../envs/data.yaml"
    message:
        "Collecting the metrics"
    script:
        "../scripts/collect_metrics.py"
