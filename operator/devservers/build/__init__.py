"""The manifests of a server's and of a user's children, as pure functions."""
