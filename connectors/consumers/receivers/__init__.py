"""One module for each kind of receiver: what is sent to it, and what its answers mean."""
