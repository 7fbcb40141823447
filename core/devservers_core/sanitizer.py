"""Removes escape sequences that command a terminal from text.

Invariant: what is left can colour and move, and nothing else. Kept: text, the layout controls and CSI sequences that
ask for no answer. Left out: OSC, DCS, APC, PM and SOS strings, C1 controls, and what makes a terminal type for its
user (ECMA-48; xterm, ctlseqs).
"""

from __future__ import annotations

import re

_KEPT = "\a\b\t\n\v\f\r"
_STRINGS = "\x1b[\\]P_^Xk]|[\x90\x98\x9d\x9e\x9f]"
_TOKEN = re.compile(
    # A string ends with its line at the latest, so that nothing behind it is hidden from who looks.
    rf"(?P<string>(?:{_STRINGS})[^\x07\x18\x1a\x1b\x9c\n]*(?:\x07|\x18|\x1a|\x1b\\|\x9c|(?=[\n\x1b])|(?P<open>\Z)))"
    r"|(?P<csi>\x1b\[[0-?]*[ -/]*[@-~])"
    r"|(?P<escape>\x1b[ -/]*[0-Z\\^-~])"
    r"|(?P<part>\x1b(?:\[[0-?]*[ -/]*|[ -/]*)\Z)"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    rf"|(?P<kept>[{_KEPT}])"
    r"|(?P<rest>.)",
    re.DOTALL,
)
_ASKING = re.compile(r"\x1b\[(?:.*[cintxy]|[>=].*|.*[$*].)", re.DOTALL)
_ESCAPES = frozenset("\x1b" + character for character in "78=>DEHM")
_CHARACTERS = re.compile(r"\x1b[()*+][0AB]")
MAX_HELD = 4096
"""Characters of a sequence that is not whole yet."""


class TerminalSanitizer:
    """Sanitizes one stream of text, piece by piece: a recording, or what a server's command printed."""

    def __init__(self) -> None:
        self._held = ""

    def sanitize(self, piece: str) -> str:
        """What of a piece is to be shown.

        A sequence that it leaves open waits for the next one.
        """
        text, self._held, shown = self._held + piece, "", []
        for match in _TOKEN.finditer(text):
            token = match[0]
            if (match["part"] is not None or match["open"] is not None) and len(token) < MAX_HELD:
                self._held = token
            elif (
                match["text"]
                or match["kept"]
                or (match["csi"] and not _ASKING.fullmatch(token))
                or (match["escape"] and (token in _ESCAPES or _CHARACTERS.fullmatch(token)))
            ):
                shown.append(token)
        return "".join(shown)
