# Score many: everything here reads embeddings and runs on the CPU in seconds.


rule check_samples:
    """Find out as early as possible whether a data set has as many samples as its scores ask for."""
    input:
        store=lambda w: store(w.dataset),
    output:
        samples=results("samples/{dataset}.json"),
    log:
        logs("samples/{dataset}.log"),
    priority: 100
    localrule: True
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(small),
        runtime=minutes(small),
    params:
        code=code_of("check_samples"),
        nomenclatures=lambda w: list(scored_nomenclatures(config, w.dataset)),
        neighbours=lambda w: neighbours_asked(
            config, w.dataset, bool(students_of(w.dataset))
        ),
        shots=lambda w: shots_asked(config, w.dataset),
    message:
        "Counting the samples of {wildcards.dataset}"
    script:
        "../scripts/check_samples.py"


rule score_zero_shot:
    """Zero-shot classification with one prompt set."""
    input:
        embeddings=lambda w: [
            encoded(w.encoder, w.dataset, split) for split in scored_splits(w.dataset)
        ],
        head=lambda w: head(space_of(w.encoder), w.dataset, w.nomenclature, w.prompts),
        store=lambda w: store(w.dataset),
    output:
        metrics=results(
            "metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.csv"
        ),
        draws=results(
            "metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.draws.npz"
        ),
    log:
        logs("metrics/{encoder}/zero-shot.{dataset}.{nomenclature}.{prompts}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("score_zero_shot"),
        run=config["run"],
        nomenclature="{nomenclature}",
        prompts="{prompts}",
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Scoring {wildcards.encoder} on {wildcards.dataset} with the prompts {wildcards.prompts}"
    script:
        "../scripts/score_zero_shot.py"


rule score_gains:
    """What patching and alignment gain over zero-shot CLIP, and over each other, with paired intervals."""
    input:
        draws=draws_of_the_shown,
        selected=of_each_line("selected.json"),
    output:
        metrics=results("metrics/gains.csv"),
    log:
        logs("metrics/gains.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(small),
        runtime=minutes(small),
    params:
        code=code_of("score_gains"),
        references=REFERENCES,
        starts={name: model_at(line, 0) for name, line in LINES.items()},
        bootstrap=needs("evaluate", "bootstrap"),
    message:
        "Weighing the gains"
    script:
        "../scripts/score_gains.py"


rule score_retrieval:
    """Retrieval between the patched CLIP's RGB and the student's multispectral embeddings of the test split."""
    input:
        rgb=lambda w: encoded(chosen_model(teacher(w.student)), w.dataset, "test"),
        multispectral=lambda w: encoded(w.student, w.dataset, "test"),
        store=lambda w: store(w.dataset),
    output:
        metrics=results("metrics/{student}/retrieval.{dataset}.csv"),
    log:
        logs("metrics/{student}/retrieval.{dataset}.log"),
    conda:
        "../../envs/data.yaml"
    threads: 2
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("score_retrieval"),
        run=config["run"],
        nomenclature=lambda w: scored_nomenclatures(config, w.dataset)[0],
        ks=lambda w: needs("evaluate", "retrieval", "ks"),
        label_map_k=lambda w: needs("evaluate", "retrieval", "label_map_k"),
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Retrieval between RGB and {wildcards.student} on {wildcards.dataset}"
    script:
        "../scripts/score_retrieval.py"


rule score_text_retrieval:
    """Retrieval of the images of a class by its name."""
    input:
        embeddings=lambda w: encoded(w.encoder, w.dataset, "test"),
        head=lambda w: head(space_of(w.encoder), w.dataset, w.nomenclature, w.prompts),
        store=lambda w: store(w.dataset),
    output:
        metrics=results(
            "metrics/{encoder}/text-retrieval.{dataset}.{nomenclature}.{prompts}.csv"
        ),
    log:
        logs("metrics/{encoder}/text-retrieval.{dataset}.{nomenclature}.{prompts}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("score_text_retrieval"),
        run=config["run"],
        nomenclature="{nomenclature}",
        prompts="{prompts}",
        ks=lambda w: needs("evaluate", "text_retrieval", "ks"),
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Retrieval by the class names of {wildcards.dataset} with {wildcards.encoder}"
    script:
        "../scripts/score_text_retrieval.py"


rule score_words:
    """Retrieval of the images of a class by words that are not its name."""
    input:
        embeddings=lambda w: encoded(w.encoder, w.dataset, "test"),
        head=lambda w: words_head(space_of(w.encoder), w.dataset, w.prompts),
        store=lambda w: store(w.dataset),
    output:
        metrics=results(
            "metrics/{encoder}/words.{dataset}.{nomenclature}.{prompts}.csv"
        ),
    log:
        logs("metrics/{encoder}/words.{dataset}.{nomenclature}.{prompts}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("score_words"),
        run=config["run"],
        nomenclature="{nomenclature}",
        prompts="{prompts}",
        words=lambda w: WORDS[w.dataset],
        k=lambda w: needs("evaluate", "words", "k"),
        seed=config["seed"],
    message:
        "Retrieval by words for the classes of {wildcards.dataset} with {wildcards.encoder}"
    script:
        "../scripts/score_words.py"


rule score_gap:
    """The modality gap: a student against the patched CLIP, a CLIP against zero-shot CLIP and its own class names."""
    input:
        unpack(sides_of_the_gap),
        store=lambda w: store(w.dataset),
    output:
        metrics=results("metrics/{encoder}/gap.{dataset}.csv"),
    log:
        logs("metrics/{encoder}/gap.{dataset}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("score_gap"),
        run=config["run"],
        nomenclature=lambda w: scored_nomenclatures(config, w.dataset)[0],
        prompts=lambda w: own_prompts(w.dataset),
        seed=config["seed"],
    message:
        "Modality gap of {wildcards.encoder} on {wildcards.dataset}"
    script:
        "../scripts/score_gap.py"


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
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=memory(probing),
        runtime=minutes(probing),
    params:
        code=code_of("score_probe"),
        run=config["run"],
        recipe=lambda w: needs(
            "evaluate", "linear_probe", without=("datasets", "shots", "repeats")
        ),
        nomenclature="{nomenclature}",
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Linear probe of {wildcards.encoder} on {wildcards.dataset}"
    script:
        "../scripts/score_probe.py"


rule score_few_shot:
    """Linear probes on a few samples of each class."""
    input:
        train=lambda w: encoded(w.encoder, w.dataset, "train"),
        val=lambda w: encoded(w.encoder, w.dataset, "val"),
        test=lambda w: encoded(w.encoder, w.dataset, "test"),
        store=lambda w: store(w.dataset),
    output:
        metrics=results("metrics/{encoder}/few-shot.{dataset}.{nomenclature}.csv"),
    log:
        logs("metrics/{encoder}/few-shot.{dataset}.{nomenclature}.log"),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(probing),
        runtime=minutes(probing),
    params:
        code=code_of("score_few_shot"),
        run=config["run"],
        recipe=lambda w: needs("evaluate", "linear_probe", without=("datasets",)),
        nomenclature="{nomenclature}",
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Probes of {wildcards.encoder} on a few samples of {wildcards.dataset}"
    script:
        "../scripts/score_few_shot.py"


rule score_knn:
    """Classification by the nearest training samples."""
    input:
        train=lambda w: encoded(w.encoder, w.dataset, "train"),
        test=lambda w: encoded(w.encoder, w.dataset, "test"),
        store=lambda w: store(w.dataset),
    output:
        metrics=results("metrics/{encoder}/knn.{dataset}.{nomenclature}.csv"),
    log:
        logs("metrics/{encoder}/knn.{dataset}.{nomenclature}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("score_knn"),
        run=config["run"],
        recipe=lambda w: needs("evaluate", "knn"),
        nomenclature="{nomenclature}",
        bootstrap=needs("evaluate", "bootstrap"),
        seed=config["seed"],
    message:
        "Nearest neighbours of {wildcards.encoder} on {wildcards.dataset}"
    script:
        "../scripts/score_knn.py"


rule collect_metrics:
    """One tidy table of every number."""
    input:
        zero_shot=[
            zero_shot_metrics(encoder, dataset, nomenclature, prompts)
            for dataset in EVALUATED
            for encoder in encoders_of(dataset)
            for nomenclature in scored_nomenclatures(config, dataset)
            for prompts in EVALUATED[dataset]
        ],
        shown=[
            table
            for dataset in EVALUATED
            for encoder in shown_encoders(dataset)
            for table in metrics_of(encoder, dataset)
        ],
        chosen=metrics_of_the_chosen,
        gains=results("metrics/gains.csv"),
        samples=samples_of_each(),
    output:
        table=results("metrics.csv"),
    log:
        logs("metrics.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(small),
        runtime=minutes(small),
    params:
        code=code_of("collect_metrics"),
    message:
        "Collecting the metrics"
    script:
        "../scripts/collect_metrics.py"
