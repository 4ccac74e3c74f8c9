"""Which billing path and which meters, by which rule."""
