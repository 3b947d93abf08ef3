"""What a configuration may say: one model for each section of config.yaml, `config.Config` for the whole."""
