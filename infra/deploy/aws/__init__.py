"""Deploys stacks on AWS."""
