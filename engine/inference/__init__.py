"""Working memory, windows, joins, agenda: facts in, decisions out.

Pure: no await, no clock, no randomness, no I/O. Time comes with the facts. The way of a fact, top to bottom:

    core.Core.step      moves the clock, runs what became due, takes the fact in, runs the agenda
    alpha               finds the patterns whose own tests the fact passes
    slots, windows, absence   what such a pattern keeps: facts to join, a sliding count, when something was last seen
    joins               combines the facts of several patterns (durable-rules)
    matches             one match of a rule: since when it holds, what it fired, what it supports
    agenda              which match fires next
    effects             what a firing rule says becomes decisions and new facts
    alerts              which alerts are firing, and on whose support
    ledger              what of all this the journal keeps, and how it comes back
"""
