"""Who was this address, then."""
