"""The pod of a server: its template, containers and grace period."""
