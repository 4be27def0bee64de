"""F1: the service catalogue. One YAML file per service in `catalogue/`, and its loader."""
