"""Facts, rules, log parsing, inference, journal, messages, pipeline, the sidecar process, the fleet, and the command line."""
