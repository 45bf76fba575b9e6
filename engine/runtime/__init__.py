"""What runs the core: queues, tasks, retries, outbox."""
