"""What the inside asks of the world, as Protocols: connectors fulfil them, and the composition root puts both together."""
