"""The platform that every cluster gets, as Pulumi components."""
