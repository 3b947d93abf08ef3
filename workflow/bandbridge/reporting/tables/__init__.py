"""Tables of a run, as CSV, Markdown and LaTeX."""
