"""The stages and their order: the only room that crosses the others."""
