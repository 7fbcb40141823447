"""A fake session program, which reports to the audit process and runs a shell.

The real one never starts a shell; what is tested here is everything around it. Copied beside a bastion's folders,
from where it finds the audit socket; only the standard library, because it runs as the person.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SOCKET = Path(__file__).parent / "run/bastion/sockets/audit/audit.sock"


def main() -> int:
    """The exit code of what was asked."""
    command = os.environ.get("SSH_ORIGINAL_COMMAND")
    source, port, *_ = os.environ["SSH_CONNECTION"].split()
    audit = socket.socket(socket.AF_UNIX)
    audit.settimeout(10)  # as the real one
    try:
        audit.connect(str(SOCKET))
        stream = audit.makefile("rwb")

        def tell(event: str, **fields: object) -> dict[str, object]:
            stream.write(json.dumps({"event": event, "fields": fields}).encode() + b"\n")
            stream.flush()
            answer = json.loads(stream.readline())
            if not answer["ok"]:
                raise OSError(answer["error"])
            return dict(answer)

        kind = "exec" if command else "shell"
        tell("session_start", kind=kind, src_ip=source, src_port=int(port), argv=command.split() if command else [])
        done = subprocess.run(["/bin/sh", "-c", command] if command else ["/bin/sh"], check=False)
        tell("command_end", exit=done.returncode)
    except (OSError, ValueError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 77
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


if __name__ == "__main__":
    sys.exit(main())
