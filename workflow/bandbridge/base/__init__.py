"""Ground: errors, whole files, progress, YAML, and what every script shares; nothing of ours below."""
