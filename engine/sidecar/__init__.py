"""The process: composition, start and stop, status, commands, and the rules in force."""
