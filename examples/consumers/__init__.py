"""Consumers of dockwarden's alerts: each listens to MQTT and hands on. They import nothing of dockwarden; copy the folder."""
