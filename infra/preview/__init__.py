"""The simulated preview: the Pulumi program run without an engine."""
