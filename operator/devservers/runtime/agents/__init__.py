"""Exchanges plans and reports with the agents in servers' pods."""
