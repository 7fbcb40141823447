"""Webhooks and DaemonSets of the pinned add-ons and charts, with decisions."""
