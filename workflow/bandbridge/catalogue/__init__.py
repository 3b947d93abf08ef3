"""Facts from YAML files: data sets, nomenclatures, prompts, sensors, encoders and published figures."""
