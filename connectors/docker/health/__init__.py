"""Whether Docker answers, and what hangs."""
