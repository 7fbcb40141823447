"""The audit process: events of sessions and connections as JSON lines, and recordings."""
