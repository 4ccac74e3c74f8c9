"""Maintenance of the project itself; nothing here is installed."""
