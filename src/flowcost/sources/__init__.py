"""Foreign records become flows."""
