"""Code that devctl, the bastion, the operator and infra share; imports the standard library only."""
