"""The status, conditions and Events of servers and users, as pure functions."""
