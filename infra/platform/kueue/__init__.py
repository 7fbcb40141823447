"""Kueue: its installation, and the queues of a stack."""
