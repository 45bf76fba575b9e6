"""`dockwarden-pager` and `dockwarden-chat`: from dockwarden's MQTT topics to the receivers that people listen to."""
