"""What the Pulumi program knows of a cluster on this machine."""
