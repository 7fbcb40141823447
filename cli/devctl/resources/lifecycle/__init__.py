"""Reads and writes when a server ends: time limits, holds, planned stops."""
