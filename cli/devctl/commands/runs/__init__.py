"""Commands for runs: commands that go on in a server when the connection ends."""
