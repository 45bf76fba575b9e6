"""Rules: read from YAML, checked against the fact models, tested on timelines. Pure but for reading the files."""
