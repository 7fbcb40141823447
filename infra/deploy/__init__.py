"""Deploys stacks: up, down, preview and cost of each, with Pulumi."""
