"""Everything that touches the world: Docker, kernel log, log tails, probes, mounts, processes, MQTT."""
