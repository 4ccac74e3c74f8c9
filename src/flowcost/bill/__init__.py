"""What the provider charged, and the difference."""
