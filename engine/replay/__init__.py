"""Recorded facts through the rules, and what two sets of rules decide differently."""
