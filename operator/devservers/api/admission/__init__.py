"""The admission policies that the API server enforces."""
