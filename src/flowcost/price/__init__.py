"""Which dated rate."""
