"""Working memory, windows, joins, agenda: facts in, decisions out. Pure."""
