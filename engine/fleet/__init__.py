"""Many hosts watched as one: what their sidecars publish, taken in as facts and shown as a whole."""
