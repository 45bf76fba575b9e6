"""Typed facts: what sources see, what actions bring about, and what rules conclude. Pure."""

from engine.facts.base import EventFact, Fact, Retraction, StateFact
from engine.facts.registry import BUILT_IN, DeclaredFact, FactKinds

__all__ = ["BUILT_IN", "DeclaredFact", "EventFact", "Fact", "FactKinds", "Retraction", "StateFact"]
