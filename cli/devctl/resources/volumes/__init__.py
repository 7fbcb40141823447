"""Volumes of a person: claims, storage classes, growth, snapshots."""
