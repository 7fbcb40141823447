"""Limits how many commands one person runs at once on this replica.

The audit process does it, because every session asks it before a command. peers.py limits one person's connections.
"""

from __future__ import annotations

import asyncio

MAX_COMMANDS = 4
"""Commands that run for one person at once on this replica: the memory of the container is everybody's."""
WAIT_FOR_COMMAND = 8.0
"""Seconds that one more command waits for another to end: scripts of short commands never notice the limit.
Less than the session waits for an answer (bastion/session/audit_client.py, ANSWER_SECONDS)."""
BUSY = (
    f"{MAX_COMMANDS} commands of yours run here, which is the limit; wait until one has ended, or end one "
    "(`ssh NAME.devserver` from your own machine does not count)"
)


class CommandSlots:
    """The commands that run or wait, by uid."""

    def __init__(self) -> None:
        self._slots: dict[int, _Slots] = {}

    async def begin(self, uid: int) -> bool:
        """Waits until one more command of this person may run.

        False when it may not within WAIT_FOR_COMMAND.
        """
        slots = self._slots.setdefault(uid, _Slots())
        slots.users += 1
        try:
            await asyncio.wait_for(slots.free.acquire(), WAIT_FOR_COMMAND)
        except TimeoutError:
            self._leave(uid)
            return False
        except BaseException:
            self._leave(uid)
            raise
        return True

    def end(self, uid: int) -> None:
        """Lets the next command of this person run."""
        self._slots[uid].free.release()
        self._leave(uid)

    def _leave(self, uid: int) -> None:
        self._slots[uid].users -= 1
        if not self._slots[uid].users:
            del self._slots[uid]


class _Slots:
    """The commands of one person."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(MAX_COMMANDS)
        self.users = 0
        """Commands that run or wait."""
