"""What leaves the process over MQTT: topics, payloads, and the one-line summary of an alert. Pure."""
