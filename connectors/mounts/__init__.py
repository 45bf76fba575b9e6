"""Mounts of one container that another one's mount namespace holds: finding them, and taking them away."""
