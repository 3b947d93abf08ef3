# Scores: every rule here reads embeddings and runs on the CPU in seconds.


rule check_samples:
    """Check as early as possible that a data set has as many samples as its scores need."""
    input:
        store=paths.store("{dataset}"),
    output:
        samples=shared.samples("{dataset}"),
    log:
        shared.logs("samples/{dataset}.log"),
    priority: 100
    localrule: True
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(small),
    params:
        code=code_of("check_samples"),
        nomenclatures=of_job(run.nomenclatures),
        neighbours=of_job(scores.neighbours),
        shots=of_job(scores.shots),
    message:
        "Counting the samples of {wildcards.dataset}"
    script:
        "../scripts/check_samples.py"


for each in zero_shot_rules(scores):

    rule:
        name:
            "_".join(filter(None, ["score_zero_shot", each.name]))
        input:
            embeddings=of_job(scores.embeddings, **each.of_dataset),
            heads=of_job(scores.heads, **each.of_dataset, **each.of_parts),
            store=paths.store(each.dataset),
        output:
            metrics=[
                paths.zero_shot("{encoder}", each.dataset, *part)
                for part in each.parts
            ],
            draws=[
                paths.zero_shot("{encoder}", each.dataset, *part, "draws.npz")
                for part in each.parts
            ],
        log:
            paths.logs(f"metrics/{{encoder}}/zero-shot.{each.dataset}.{each.label}.log"),
        wildcard_constraints:
            dataset=one_of(each.datasets),
        conda:
            "../../envs/data.yaml"
        resources:
            **asks.of(sizes.scoring, scores=len(each.parts)),
        params:
            code=code_of("score_zero_shot"),
            run=config["run"],
            nomenclatures=each.nomenclatures,
            prompts=each.prompts,
            bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
            seed=seed_of,
        message:
            f"Scoring {{wildcards.encoder}} on {shown(each.dataset)}"
        script:
            "../scripts/score_zero_shot.py"


rule score_gains:
    """What patching and alignment gain over zero-shot CLIP, and over each other, with paired intervals."""
    input:
        draws=of_job(scores.compared_draws),
        selected=run.of_each_line("selected.json"),
    output:
        metrics=paths.results("metrics/gains.csv"),
    log:
        paths.logs("metrics/gains.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(small),
    params:
        code=code_of("score_gains"),
        references=scores.references(),
        starts=scores.starts(),
        bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
    message:
        "Computing paired gains"
    script:
        "../scripts/score_gains.py"


rule score_retrieval:
    """Retrieval between the patched CLIP's RGB and the student's multispectral embeddings of the test split."""
    input:
        rgb=of_job(scores.teachers_embeddings),
        multispectral=of_job(scores.students_embeddings),
        store=paths.store("{dataset}"),
    output:
        metrics=paths.scores("{student}", "retrieval", "{dataset}"),
    log:
        paths.logs("metrics/{student}/retrieval.{dataset}.log"),
    conda:
        "../../envs/data.yaml"
    threads: 2
    resources:
        **asks.of(sizes.scoring),
    params:
        code=code_of("score_retrieval"),
        run=config["run"],
        nomenclature=of_job(run.nomenclature),
        ks=lookup(dpath="evaluate/retrieval/ks", within=config, default=None),
        label_map_k=lookup(
            dpath="evaluate/retrieval/label_map_k", within=config, default=None
        ),
        bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
        seed=seed_of,
    message:
        "Retrieval between RGB and {wildcards.student} on {wildcards.dataset}"
    script:
        "../scripts/score_retrieval.py"


for each in rules_by_nomenclature(scores):

    rule:
        name:
            "_".join(filter(None, ["score_text_retrieval", each.name]))
        input:
            embeddings=of_job(run.encoded, split="test", **each.of_dataset),
            heads=of_job(scores.heads, **each.of_dataset, **each.of_parts),
            store=paths.store(each.dataset),
        output:
            metrics=[
                paths.scores("{encoder}", "text-retrieval", each.dataset, *part)
                for part in each.parts
            ],
        log:
            paths.logs(
                f"metrics/{{encoder}}/text-retrieval.{each.dataset}.{each.label}.log"
            ),
        wildcard_constraints:
            dataset=one_of(each.datasets),
        conda:
            "../../envs/data.yaml"
        resources:
            **asks.of(sizes.scoring, scores=len(each.parts)),
        params:
            code=code_of("score_text_retrieval"),
            run=config["run"],
            nomenclatures=each.nomenclatures,
            prompts=each.prompts,
            ks=lookup(dpath="evaluate/text_retrieval/ks", within=config, default=None),
            bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
            seed=seed_of,
        message:
            f"Retrieval by the class names of {shown(each.dataset)} with {{wildcards.encoder}}"
        script:
            "../scripts/score_text_retrieval.py"


rule score_words:
    """Retrieval of the images of a class by words that are not its name."""
    input:
        embeddings=of_job(run.encoded, split="test"),
        head=of_job(scores.words_head),
        store=paths.store("{dataset}"),
    output:
        metrics=paths.scores(
            "{encoder}", "words", "{dataset}", "{nomenclature}", "{prompts}"
        ),
    log:
        paths.logs("metrics/{encoder}/words.{dataset}.{nomenclature}.{prompts}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(sizes.scoring),
    params:
        code=code_of("score_words"),
        run=config["run"],
        nomenclature="{nomenclature}",
        prompts="{prompts}",
        words=of_job(run.words_of),
        k=lookup(dpath="evaluate/words/k", within=config, default=None),
        seed=seed_of,
    message:
        "Retrieval by words for the classes of {wildcards.dataset} with {wildcards.encoder}"
    script:
        "../scripts/score_words.py"


rule score_gap:
    """The modality gap: a student against the patched CLIP, a CLIP against zero-shot CLIP and its own class names."""
    input:
        unpack(of_job(scores.sides_of_the_gap)),
        store=paths.store("{dataset}"),
    output:
        metrics=paths.scores("{encoder}", "gap", "{dataset}"),
    log:
        paths.logs("metrics/{encoder}/gap.{dataset}.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(sizes.scoring),
    params:
        code=code_of("score_gap"),
        run=config["run"],
        nomenclature=of_job(run.nomenclature),
        prompts=of_job(run.main_prompts),
        seed=seed_of,
    message:
        "Modality gap of {wildcards.encoder} on {wildcards.dataset}"
    script:
        "../scripts/score_gap.py"


for each in rules_by_nomenclature(scores, scores.probed()):

    rule:
        name:
            "_".join(filter(None, ["score_probe", each.name]))
        input:
            train=of_job(run.encoded, split="train", **each.of_dataset),
            val=of_job(run.encoded, split="val", **each.of_dataset),
            test=of_job(run.encoded, split="test", **each.of_dataset),
            store=paths.store(each.dataset),
        output:
            metrics=[
                paths.scores("{encoder}", "linear-probe", each.dataset, nomenclature)
                for nomenclature in each.nomenclatures
            ],
        log:
            paths.logs(
                f"metrics/{{encoder}}/linear-probe.{each.dataset}.{each.nomenclatures[0]}.log"
            ),
        wildcard_constraints:
            dataset=one_of(each.datasets),
        conda:
            "../../envs/torch.yaml"
        threads: 2
        resources:
            **asks.of(sizes.probing, scores=len(each.parts)),
        params:
            code=code_of("score_probe"),
            run=config["run"],
            recipe=without(
                config["evaluate"]["linear_probe"], "datasets", "shots", "repeats"
            ),
            nomenclatures=each.nomenclatures,
            bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
            seed=seed_of,
        message:
            f"Linear probe of {{wildcards.encoder}} on {shown(each.dataset)}"
        script:
            "../scripts/score_probe.py"


for each in rules_by_nomenclature(scores, scores.probed()):

    rule:
        name:
            "_".join(filter(None, ["score_few_shot", each.name]))
        input:
            train=of_job(run.encoded, split="train", **each.of_dataset),
            val=of_job(run.encoded, split="val", **each.of_dataset),
            test=of_job(run.encoded, split="test", **each.of_dataset),
            store=paths.store(each.dataset),
        output:
            metrics=[
                paths.scores("{encoder}", "few-shot", each.dataset, nomenclature)
                for nomenclature in each.nomenclatures
            ],
        log:
            paths.logs(
                f"metrics/{{encoder}}/few-shot.{each.dataset}.{each.nomenclatures[0]}.log"
            ),
        wildcard_constraints:
            dataset=one_of(each.datasets),
        conda:
            "../../envs/torch.yaml"
        resources:
            **asks.of(sizes.probing, scores=len(each.parts)),
        params:
            code=code_of("score_few_shot"),
            run=config["run"],
            recipe=without(config["evaluate"]["linear_probe"], "datasets"),
            nomenclatures=each.nomenclatures,
            bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
            seed=seed_of,
        message:
            f"Probes of {{wildcards.encoder}} on a few samples of {shown(each.dataset)}"
        script:
            "../scripts/score_few_shot.py"


for each in rules_by_nomenclature(scores, scores.probed()):

    rule:
        name:
            "_".join(filter(None, ["score_knn", each.name]))
        input:
            train=of_job(run.encoded, split="train", **each.of_dataset),
            test=of_job(run.encoded, split="test", **each.of_dataset),
            store=paths.store(each.dataset),
        output:
            metrics=[
                paths.scores("{encoder}", "knn", each.dataset, nomenclature)
                for nomenclature in each.nomenclatures
            ],
        log:
            paths.logs(
                f"metrics/{{encoder}}/knn.{each.dataset}.{each.nomenclatures[0]}.log"
            ),
        wildcard_constraints:
            dataset=one_of(each.datasets),
        conda:
            "../../envs/data.yaml"
        resources:
            **asks.of(sizes.scoring, scores=len(each.parts)),
        params:
            code=code_of("score_knn"),
            run=config["run"],
            recipe=lookup(dpath="evaluate/knn", within=config, default=None),
            nomenclatures=each.nomenclatures,
            bootstrap=lookup(dpath="evaluate/bootstrap", within=config),
            seed=seed_of,
        message:
            f"Nearest neighbours of {{wildcards.encoder}} on {shown(each.dataset)}"
        script:
            "../scripts/score_knn.py"


rule collect_metrics:
    """One tidy table of every number."""
    input:
        zero_shot=scores.all_zero_shot(),
        tables=scores.shown_tables(),
        chosen=of_job(scores.tables_of_the_chosen),
        gains=paths.results("metrics/gains.csv"),
        samples=scores.samples(),
    output:
        table=paths.metrics,
    log:
        paths.logs("metrics.log"),
    conda:
        "../../envs/data.yaml"
    resources:
        **asks.of(small),
    params:
        code=code_of("collect_metrics"),
    message:
        "Collecting the metrics"
    script:
        "../scripts/collect_metrics.py"
