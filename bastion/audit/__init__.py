"""The audit process: events as JSON lines, and recordings of sessions."""
