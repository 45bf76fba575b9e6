"""Answers monitoring systems over HTTP: health, readiness, metrics."""
