"""Code that devctl, the bastion, the operator and infra share.

Imports the standard library only.
"""
