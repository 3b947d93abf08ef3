"""Facts from YAML: data sets, nomenclatures, prompts, sensors, encoders and published figures."""
