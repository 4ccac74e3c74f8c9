"""Benchmarks: each prints one table; none is a timed test."""
