"""The commands, one module for a command or a noun."""
