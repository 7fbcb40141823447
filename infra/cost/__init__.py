"""The cost estimate of an environment on AWS."""
