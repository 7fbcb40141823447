"""Objects of the cluster as devctl reads and changes them."""
