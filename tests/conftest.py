"""What all tiers share."""

from __future__ import annotations

import signal

# A shell's background job (`make test &` in a script) ignores Ctrl-C, and so would every process that a test starts
# and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
