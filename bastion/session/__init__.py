"""The program of every SSH session: devctl and kubectl, never a shell."""
