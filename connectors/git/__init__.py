"""The git client."""
