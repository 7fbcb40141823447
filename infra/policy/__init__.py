"""The security baseline as a Pulumi policy pack."""
