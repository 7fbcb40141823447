"""The embedded node: its processes, their configuration, and what they need of the machine."""
