"""An environment on AWS, as Pulumi components."""
