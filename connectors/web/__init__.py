"""The page of a fleet: what all hosts report, in a browser."""
