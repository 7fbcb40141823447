"""Messages between the bastion's processes: JSON lines over Unix sockets."""

MAX_LINE_BYTES = 1 << 16
"""Of one request; the server closes the connection of a peer that sends more."""


class ProtocolError(ValueError):
    """A line is not a message of the protocol.

    The text names the field that is wrong, in one line.
    """


def printable(text: str) -> str:
    """The text without control and formatting characters, each of which becomes a space: terminals show it."""
    return "".join(char if char.isprintable() else " " for char in text)
