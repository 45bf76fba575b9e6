"""Containers as Docker lists them."""
