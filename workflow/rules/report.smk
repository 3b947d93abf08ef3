# Views of metrics.csv.

TABLES = [
    results(f"tables/{name}.{extension}")
    for name in ("classification", "retrieval", "linear_probe", "paint")
    for extension in ("csv", "md", "tex")
]


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
    message:
        "Making the tables"
    script:
        "../scripts/tables.py"


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
