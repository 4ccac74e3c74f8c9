"""The web console: pages that read without JavaScript."""
