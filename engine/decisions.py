"""Guardrails: may this decision be acted on? Pure."""
