"""The event stream of Docker."""
