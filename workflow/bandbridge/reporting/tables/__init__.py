"""Tables of a run, as CSV, Markdown and LaTeX."""

# Names of a run's tables, in the order of a report; here, because planning a run has no need of pandas.
TABLES = (
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
