"""The engine: facts, rules, working memory, inference, agenda, decisions, journal, runtime and command line."""
