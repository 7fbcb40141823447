"""devctl: how a person works with development servers. Nothing here imports the operator."""
