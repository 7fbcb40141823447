"""Settings of a stack: models, checks, and the loading of its Pulumi configuration."""
