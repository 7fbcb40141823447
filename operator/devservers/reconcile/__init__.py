"""The reconcilers of servers and users, and the mapper from changes to keys."""
