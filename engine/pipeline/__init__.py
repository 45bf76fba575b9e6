"""The way of a fact: intake, core, actions, alerts, journal, in one loop."""
