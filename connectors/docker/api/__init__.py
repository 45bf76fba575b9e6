"""The Docker Engine API: address, client, errors, and typed answers and events. Knows nothing of what is made of them."""
