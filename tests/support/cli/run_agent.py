"""A stand-in for the agent of a server, for `devctl run`: one process a connection, with its state in a folder.

Usage: run_agent.py FOLDER WORDS..., where WORDS are what devctl would have started in the server. In FOLDER: `output`,
what the run prints, `cuts`, a line for each connection with how many bytes it sends before it is cut, `code`, `until`,
what devctl must have said before the end, and `dead`: while it is there a connection hears nothing; then it is cut.
It writes `words`, `received` (the files by their names) and `said` (what devctl said).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

FOLDER, WORDS = Path(sys.argv[1]), sys.argv[2:]


def send(kind: str, output: bytes = b"", **fields: object) -> None:
    sys.stdout.buffer.write(json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode() + b"\n" + output)
    sys.stdout.buffer.flush()


def receive() -> None:
    """Read the list, ask for every file whose name does not begin with `same`, and keep them."""
    entries = []
    while True:
        text = b""
        while (char := sys.stdin.buffer.read(1)) != b"\0":
            text += char
        if not text:
            break
        entries.append(text.split(b" ", 4))
    need = [at for at, entry in enumerate(entries) if not entry[4].startswith(b"same")]
    send("need", need=need)
    received = {entries[at][4].decode(): sys.stdin.buffer.read(int(entries[at][2])).decode() for at in need}
    (FOLDER / "received").write_text(json.dumps(received))


def hear() -> None:
    for line in iter(sys.stdin.buffer.readline, b""):
        send("heard", word=line.decode().strip())
        with (FOLDER / "said").open("ab") as said:
            said.write(line)
    os._exit(255)  # devctl is gone


def cut() -> int:
    sys.stderr.write("Connection to server closed by remote host.\n")
    return 255


def main() -> int:
    with (FOLDER / "words").open("a") as file:
        file.write(json.dumps(WORDS[1:]) + "\n")
    print("a line that a person's shell prints", flush=True)
    refused = FOLDER / "refused"
    if refused.exists():
        send("refused", error=refused.read_text(), code=1)
        return 1
    if "--mirror" in WORDS:
        receive()
    if WORDS[1] == "run":
        send("started", run="try", dir="/home/dev/runs/try")
        if "--detach" in WORDS:
            return 0
    dead = FOLDER / "dead"
    if dead.exists():
        while dead.exists():
            threading.Event().wait(0.02)
        return cut()
    threading.Thread(target=hear, daemon=True).start()
    start = int(WORDS[WORDS.index("--from") + 1]) if "--from" in WORDS else 0
    output = (FOLDER / "output").read_bytes()
    cuts = (FOLDER / "cuts").read_text().split()
    (FOLDER / "cuts").write_text("\n".join(cuts[1:]))
    end = start + int(cuts[0]) if cuts else len(output)
    for at in range(start, min(end, len(output)), 1000):
        chunk = output[at : min(at + 1000, end)]
        send("output", chunk, next=at + len(chunk), length=len(chunk))
    waits = FOLDER / "until"
    while waits.exists() and waits.read_text() not in (_said() or "nothing"):
        threading.Event().wait(0.02)
    if cuts:
        return cut()
    record = {"name": "try", "state": "ended", "exitCode": int((FOLDER / "code").read_text())}
    send("ended", record=record | json.loads((FOLDER / "record").read_text()))
    return 0


def _said() -> str:
    said = FOLDER / "said"
    return said.read_text() if said.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
