"""Commands about the platform and about devctl itself."""
