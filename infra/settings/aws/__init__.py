"""Settings of an AWS environment: models, checks, and derived names."""
