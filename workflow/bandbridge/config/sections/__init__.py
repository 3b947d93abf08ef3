"""Models of the configuration: one for each section of config.yaml, and `whole.Config` for all of it."""
