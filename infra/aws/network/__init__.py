"""The VPC and its security group rules."""
