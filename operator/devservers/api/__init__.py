"""The kinds of devservers.io/v1, their CRDs and the admission policies."""
