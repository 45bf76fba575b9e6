"""Processes of the host: who they are, which container they belong to, and the few things that may be done to them."""
