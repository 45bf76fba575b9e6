"""The Docker Engine API: address, client, errors, raw streams."""
