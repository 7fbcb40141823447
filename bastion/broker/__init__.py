"""The credential broker: short-lived tokens and certificates for people's processes."""
