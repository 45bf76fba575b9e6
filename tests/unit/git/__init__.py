"""Unit tests of the git client, on real repositories."""
