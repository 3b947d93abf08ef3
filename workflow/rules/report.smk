# Views of metrics.csv.


rule tables:
    """The tables of a paper that have rows, as CSV, Markdown and LaTeX."""
    input:
        metrics=paths.metrics,
        curves=run.of_each_line("curve.csv"),
        selected=run.of_each_line("selected.json"),
    output:
        # A folder, because a table that has nothing to show has no file.
        tables=report(
            directory(paths.tables),
            patterns=["{table}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        paths.logs("tables.log"),
    conda:
        "../../envs/report.yaml"
    resources:
        **asks.of(small),
    params:
        code=code_of("tables", "published"),
        students=of_job(ablation_facts, config=config),
        look=lookup(dpath="tables", within=config),
        notes=run_notes(config),
        patched=of_job(patched_models, config=config),
        words=run.words,
    message:
        "Making the tables"
    script:
        "../scripts/tables.py"


rule compare:
    """Finished runs side by side: snakemake compare --config "compare=[demo, seed-1]"."""
    output:
        **comparison_files(config),
    log:
        f"{paths.log_root}/compare.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        code=code_of("compare", "report"),
        runs=compared_runs(config),
        # Not an input: Snakemake would finish an unfinished run of this configuration first.
        listing=[file_listing(file) for file in compared_files(config)],
    message:
        "Comparing {params.runs}: {output.page}"
    script:
        "../scripts/compare.py"


if seeds.several:

    rule seeds:
        """Mean and deviation over the seeds of a run, paired over the same test samples."""
        input:
            metrics=[one.run.paths.metrics for one in seeds.each.values()],
            configurations=[one.run.paths.config for one in seeds.each.values()],
            selected=[
                choice
                for one in seeds.each.values()
                for choice in one.run.of_each_line("selected.json")
            ],
        output:
            **seed_files(config),
        log:
            shared.logs("seeds.log"),
        conda:
            "../../envs/report.yaml"
        resources:
            **asks.of(small),
        params:
            code=code_of("compare", "report"),
            runs=[one.run.paths.folder for one in seeds.each.values()],
        message:
            f"Computing mean and deviation over {len(seeds.each)} seeds"
        script:
            "../scripts/compare.py"


rule gallery:
    """The samples nearest to an image, to the name of a class, and to words."""
    input:
        rgb=of_job(scores.pictured_patched),
        multispectral=of_job(scores.pictured_student),
        head=of_job(scores.pictured_head),
        words_head=of_job(scores.pictured_words),
        store=paths.store("{dataset}"),
    output:
        gallery=paths.report_part("gallery", "{subject}", "{dataset}"),
    log:
        paths.logs("report_parts/gallery.{subject}.{dataset}.log"),
    conda:
        "../../envs/report.yaml"
    resources:
        **asks.of(sizes.scoring),
    params:
        code=code_of("gallery"),
        nomenclature=of_job(run.nomenclature),
        words=of_job(run.words_of),
        seed=seed_of,
    message:
        "Drawing retrieval by {wildcards.subject} on {wildcards.dataset}"
    script:
        "../scripts/gallery.py"


rule projection:
    """The embedding space before and after patching and alignment, projected to two axes."""
    input:
        zero_shot=of_job(scores.pictured_zero_shot),
        patched=of_job(scores.pictured_patched),
        multispectral=of_job(scores.pictured_student),
        head=of_job(scores.pictured_head),
        store=paths.store("{dataset}"),
    output:
        projection=paths.report_part("projection", "{subject}", "{dataset}"),
    log:
        paths.logs("report_parts/projection.{subject}.{dataset}.log"),
    conda:
        "../../envs/report.yaml"
    resources:
        **asks.of(sizes.scoring),
    params:
        code=code_of("projection"),
        nomenclature=of_job(run.nomenclature),
        seed=seed_of,
    message:
        "Projecting the embeddings of {wildcards.subject} on {wildcards.dataset}"
    script:
        "../scripts/projection.py"


rule report:
    """One page that shows the run and opens without a network."""
    input:
        metrics=paths.metrics,
        curves=run.of_each_line("curve.csv"),
        selected=run.of_each_line("selected.json"),
        clips=[run.clip_paths.clip(clip) for clip in run.clips],
        samples=scores.samples(),
        histories=scores.histories(),
        stores=[paths.store(dataset) for dataset in run.datasets],
        tables=paths.tables,
        galleries=scores.report_parts("gallery"),
        projections=scores.report_parts("projection"),
        maps=applied.summaries(),
    output:
        report=report(
            paths.report,
            caption="../report/page.rst",
            category="Report",
            labels={"page": "The run"},
        ),
        figures=report(
            directory(paths.results("report/figures")),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        # The run's whole checked configuration: for readers of the results, and to compare runs.
        settings=paths.config,
    log:
        paths.logs("report.log"),
    conda:
        "../../envs/report.yaml"
    threads: DRAWING_PROCESSES
    resources:
        **asks.of(drawing, processes=DRAWING_PROCESSES),
    params:
        code=code_of("report", "published", "report"),
        config=config_of,
        notes=run_notes(config),
        quarantines=[paths.quarantine(dataset) for dataset in run.datasets],
        benchmarks=(
            [paths.run_logs, shared.run_logs] if seeds.several else paths.run_logs
        ),
        trainings=of_job(scores.trainings),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"
