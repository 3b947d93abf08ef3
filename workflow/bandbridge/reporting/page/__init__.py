"""The report's page, one module per section."""
