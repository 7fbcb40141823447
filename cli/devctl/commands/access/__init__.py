"""Commands that reach into a server, and what they log in with."""
