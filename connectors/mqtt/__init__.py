"""MQTT: drains the outbox into a broker, hears commands, and runs a broker of its own where none is named."""
