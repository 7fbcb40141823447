"""Facts about GitHub that roles, settings and policy rules share."""

OIDC_ISSUER = "token.actions.githubusercontent.com"
"""Issuer of the OpenID Connect tokens of GitHub Actions workflows."""
