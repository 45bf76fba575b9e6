"""Working memory, windows, joins, agenda: facts in, decisions out.

Sans-I/O: no await, no clock, no randomness. Time comes with the facts. Each module knows only those below it:

    persistence, diagnosis, time_shift   the journal's entries from and to a core; why a rule has not fired
    core                     one step: moves the clock, takes the fact in, runs the agenda, applies consequences
    network, effects         puts rules into the network; what a firing rule asks for
    rule_node                a rule at work: its patterns, its matches, and since when they hold
    support                  what lives on a match: facts, alerts, actions
    agenda, missing, alerts, templates, windows, joins   what fires next; when something was last seen; which alerts fire; texts;
                             sliding counts; combinations of facts
    alpha, memory            the patterns whose own conditions a fact passes; the facts that are so
    match, items             data: a rule and its bound items
    clock, change_log, decision, conditions   event time, what the journal holds, what is decided, conditions as functions
"""
