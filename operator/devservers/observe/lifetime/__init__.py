"""Decides whether a server is to run: time limits, idleness, holds, working hours and what is announced."""
