"""The synchronous client of the Kubernetes API.

devctl, the bastion, deployments and tests use it.
"""
