"""Views of metrics.csv: tables, figures, the page, and the comparison of runs."""
