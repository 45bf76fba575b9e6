"""Tests of rules (`*.test.yaml`): reading, running, and which rules they reach."""
