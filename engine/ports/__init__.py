"""What the engine asks of the world, as Protocols. Connectors fulfil them; the composition root puts both together."""
