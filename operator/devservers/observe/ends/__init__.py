"""How and why a server ended."""
