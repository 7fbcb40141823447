"""Messages between the bastion's processes: one JSON object a line over a Unix socket."""

MAX_LINE_BYTES = 1 << 16
"""Of one request; the server closes the connection of a peer that sends more."""


class ProtocolError(ValueError):
    """A line is not a message of the protocol; the text names the field that is wrong, in one line."""
