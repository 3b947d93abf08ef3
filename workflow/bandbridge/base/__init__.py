"""The lowest room: errors, whole files, progress, YAML, and what every script shares."""
