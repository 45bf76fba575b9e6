"""The journal: one SQLite file that survives the process."""
