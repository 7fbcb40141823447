"""The bastion: its component, its pod and its registration with the load balancer."""
