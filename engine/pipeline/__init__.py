"""The way of a fact, in one loop: intake, core, actions, alerts, journal, attempts."""
