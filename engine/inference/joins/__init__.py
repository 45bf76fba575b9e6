"""Combinations of facts that several patterns of a rule match."""
