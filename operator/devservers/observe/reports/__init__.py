"""The parts of a server's status that come from its agent's reports."""
