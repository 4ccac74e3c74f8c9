"""Fuzzing: `make fuzz`. Short versions run with the tests."""
