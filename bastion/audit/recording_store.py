"""Stores recordings of terminal sessions within a size budget.

Invariant: a user's recordings are evicted before anybody else's are, and all of them stay within the volume.

Asked before every event of every recording: its cost must not depend on how many recordings there are.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

MAX_TOTAL_BYTES = 768 * 2**20
"""Of all recordings here; the volume has 1 GiB (infra: the pod's emptyDir)."""
MAX_USER_BYTES = 192 * 2**20
"""Of one person's: one alone can't make everybody's go, and is the first who has no room for another session."""
BLOCK = 4096
"""What a file takes at least."""
SUFFIX = ".cast"


class RecordingStore:
    """The volume that all recordings share.

    The oldest finished ones are evicted, and no user has more than a share.
    """

    def __init__(self, folder: Path, most: int = MAX_TOTAL_BYTES, share: int = MAX_USER_BYTES) -> None:
        """`most` and `share` are bytes; what is in `folder` already counts as finished. Raises OSError."""
        self._most, self._share = most, share
        self._total = 0
        self._used: Counter[str] = Counter()
        # The finished ones, oldest first: OrderedDict, because a dict searches for its first key after many are gone.
        self._finished: OrderedDict[Path, int] = OrderedDict()
        self._own: defaultdict[str, OrderedDict[Path, int]] = defaultdict(OrderedDict)
        files = ((path.stat(), path) for path in folder.glob(f"*/*{SUFFIX}"))
        for stat, path in sorted(files, key=lambda each: each[0].st_mtime):
            size = stat.st_size + BLOCK
            self._count(_owner(path), size)
            self.mark_finished(path, size)

    def reserve(self, user: str, size: int) -> bool:
        """Takes room for a person's recording, if there is or can be made. Raises OSError."""
        while self._used[user] + size > self._share and self._make_way(self._own[user]):
            pass
        if self._used[user] + size > self._share:
            return False
        while self._total + size > self._most and self._make_way(self._finished):
            pass
        if self._total + size > self._most:
            return False
        self._count(user, size)
        return True

    def mark_finished(self, path: Path, size: int) -> None:
        """This one may make way from now on; `size` is what it took."""
        self._finished[path] = self._own[_owner(path)][path] = size

    def _make_way(self, candidates: OrderedDict[Path, int]) -> bool:
        """Whether there was one to be deleted: the oldest of them is."""
        if not candidates:
            return False
        oldest = next(iter(candidates))
        oldest.unlink(missing_ok=True)
        owner = _owner(oldest)
        self._count(owner, -self._finished.pop(oldest))
        del self._own[owner][oldest]
        return True

    def _count(self, user: str, size: int) -> None:
        self._used[user] += size
        self._total += size


def _owner(path: Path) -> str:
    return path.parent.name
