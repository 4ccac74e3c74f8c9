"""What is owed, balanced, for ever."""
