"""Settings of the platform, which are the same for every kind of cluster."""
