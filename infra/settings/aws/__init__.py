"""Settings of an AWS environment: models, checks, and the names that are made from them."""
