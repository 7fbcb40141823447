"""Settings of a stack: models, checks and loading."""
