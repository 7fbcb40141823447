"""The EKS control plane and its node groups."""
