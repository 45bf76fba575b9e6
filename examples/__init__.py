"""What others build with dockwarden: consumers of its alerts, deployments, settings, a recording."""
