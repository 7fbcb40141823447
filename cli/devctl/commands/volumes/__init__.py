"""`devctl volume`: a person's volumes and their snapshots."""
