"""EKS add-ons, Helm releases of controllers, and the IAM roles of their pods."""
