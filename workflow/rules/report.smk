# Views of metrics.csv.

TABLES = [
    results(f"tables/{name}.{extension}")
    for name in (
        "classification",
        "details",
        "prompts",
        "retrieval",
        "text_retrieval",
        "words",
        "linear_probe",
        "few_shot",
        "gap",
        "ablations",
        "paint",
    )
    for extension in ("csv", "md", "tex")
]


rule tables:
    """The tables of a paper, as CSV, Markdown and LaTeX."""
    input:
        metrics=results("metrics.csv"),
        curves=of_each_line("curve.csv"),
        selected=of_each_line("selected.json"),
    output:
        tables=[
            (
                report(
                    path,
                    caption="../report/table.rst",
                    category="Tables",
                    labels={"table": Path(path).stem},
                )
                if path.endswith(".csv")
                else path
            )
            for path in TABLES
        ],
    log:
        logs("tables.log"),
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(small),
        runtime=minutes(small),
    params:
        code=code_of("tables", "published"),
        students=what_students_are,
        look=needs("tables"),
        notes=run_notes(config),
        words=WORDS,
    message:
        "Making the tables"
    script:
        "../scripts/tables.py"


rule compare:
    """Finished runs side by side: snakemake compare --config "compare=[demo, seed-1]"."""
    log:
        f"{config['log_root']}/compare.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        runs=compared_runs(config),
        out=comparison_folder(config),
    message:
        "Comparing {params.runs}"
    script:
        "../scripts/compare.py"


rule gallery:
    """What stands nearest to a picture among the samples that a student sees, to the name of a class, and to words."""
    input:
        rgb=lambda w: encoded(chosen_model(pictured_line(w.shown)), w.dataset, "test"),
        multispectral=pictured_student,
        head=pictured_head,
        words_head=pictured_words,
        store=lambda w: store(w.dataset),
    output:
        gallery=results("report_parts/gallery.{shown}.{dataset}.json"),
    log:
        logs("report_parts/gallery.{shown}.{dataset}.log"),
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("gallery"),
        nomenclature=lambda w: scored_nomenclatures(config, w.dataset)[0],
        words=lambda w: WORDS.get(w.dataset),
        seed=config["seed"],
    message:
        "Picturing retrieval by {wildcards.shown} on {wildcards.dataset}"
    script:
        "../scripts/gallery.py"


rule projection:
    """The embedding space before and after patching and alignment, projected to two axes."""
    input:
        zero_shot=lambda w: embedding(
            f"{LINES[pictured_line(w.shown)].clip}@0", w.dataset, "test"
        ),
        patched=lambda w: encoded(
            chosen_model(pictured_line(w.shown)), w.dataset, "test"
        ),
        multispectral=pictured_student,
        head=pictured_head,
        store=lambda w: store(w.dataset),
    output:
        projection=results("report_parts/projection.{shown}.{dataset}.json"),
    log:
        logs("report_parts/projection.{shown}.{dataset}.log"),
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(scoring),
        runtime=minutes(scoring),
    params:
        code=code_of("projection"),
        nomenclature=lambda w: scored_nomenclatures(config, w.dataset)[0],
        seed=config["seed"],
    message:
        "Projecting the embeddings of {wildcards.shown} on {wildcards.dataset}"
    script:
        "../scripts/projection.py"


rule report:
    """One page that shows the run and opens without a network."""
    input:
        metrics=results("metrics.csv"),
        curves=of_each_line("curve.csv"),
        selected=of_each_line("selected.json"),
        clips=of_each_clip(results("clip/{clip}/open_clip_config.json")),
        samples=samples_of_each(),
        histories=histories(),
        stores=[store(dataset) for dataset in DATASETS],
        tables=TABLES,
        galleries=parts_of_the_report("gallery"),
        projections=parts_of_the_report("projection"),
        maps=[results(f"apply/{name}.json") for name in made_by(config, "map")],
    output:
        report=report(
            results("report/index.html"),
            caption="../report/page.rst",
            category="Report",
            labels={"page": "The run"},
        ),
        figures=report(
            directory(results("report/figures")),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        # The run's whole configuration, as it was checked: for whoever reads the results, and to compare runs.
        settings=results("config.yaml"),
    log:
        logs("report.log"),
    conda:
        "../../envs/report.yaml"
    threads: DRAWING_PROCESSES
    resources:
        mem_mb=memory(drawing),
        runtime=minutes(drawing),
    params:
        code=code_of("report", "published", "report"),
        config=config,
        notes=run_notes(config),
        quarantines=[quarantine(dataset) for dataset in DATASETS],
        benchmarks=logs(""),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"
