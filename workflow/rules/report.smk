# Views of metrics.csv.

TABLES = [
    results(f"tables/{name}.{extension}")
    for name in (
        "classification",
        "details",
        "prompts",
        "retrieval",
        "text_retrieval",
        "linear_probe",
        "few_shot",
        "gap",
        "ablations",
        "paint",
    )
    for extension in ("csv", "md", "tex")
]


def what_students_are(wildcards):
    # Imported here, because planning a run has no need of pandas.
    from bandbridge.tables import ablation_facts

    return ablation_facts(config)


rule tables:
    """The tables of a paper, as CSV, Markdown and LaTeX."""
    input:
        metrics=results("metrics.csv"),
        curves=of_each_line("curve.csv"),
        selected=of_each_line("selected.json"),
    output:
        tables=TABLES,
    log:
        logs("tables.log"),
    conda:
        "../../envs/report.yaml"
    params:
        students=what_students_are,
        look=needs("tables"),
    message:
        "Making the tables"
    script:
        "../scripts/tables.py"


rule record_config:
    """The run's whole configuration, checked, beside its results: for whoever reads them, and to compare runs."""
    output:
        config=results("config.yaml"),
    log:
        logs("config.log"),
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        settings=config,
    message:
        "Recording the configuration"
    script:
        "../scripts/record_config.py"


rule compare:
    """Finished runs side by side: snakemake compare --config "compare=[demo, seed-1]"."""
    log:
        f"{config['log_root']}/compare.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        runs=[
            run if "/" in run else f"{config['results_root']}/{run}"
            for run in config["compare"]
        ],
        out=f"{config['results_root']}/comparisons/"
        + "-".join(run.strip("/").split("/")[-1] for run in config["compare"]),
    message:
        "Comparing {params.runs}"
    script:
        "../scripts/compare.py"


rule report:
    """One page that shows the run and opens without a network."""
    input:
        metrics=results("metrics.csv"),
        curves=of_each_line("curve.csv"),
        selected=of_each_line("selected.json"),
        histories=histories(),
        stores=[store(dataset) for dataset in DATASETS],
        quarantines=[quarantine(dataset) for dataset in DATASETS],
        tables=TABLES,
    output:
        report=results("report/index.html"),
    log:
        logs("report.log"),
    conda:
        "../../envs/report.yaml"
    params:
        config=config,
        benchmarks=logs(""),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"
