"""Logs as sources of facts: the kernel's ring buffer, files that are followed across rotation, and journald.

`factory.make_log_source` is what others need.
"""
