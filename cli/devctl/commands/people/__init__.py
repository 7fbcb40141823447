"""Commands about the platform's users."""
