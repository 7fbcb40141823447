"""What the pinned add-ons and charts bring into a cluster: webhooks that see its pods, DaemonSets on its nodes."""
