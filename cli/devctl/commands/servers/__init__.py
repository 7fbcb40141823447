"""Commands about the life of a server."""
