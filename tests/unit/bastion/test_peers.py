"""Nobody takes a socket from the others by many connections."""

from __future__ import annotations

from bastion.audit.peers import MOST_PEERS, Peers
from devservers_core.names import FIRST_UID


def test_a_person_has_so_many_and_others_have_theirs() -> None:
    found = Peers()
    held = [found.one(FIRST_UID) for _ in range(MOST_PEERS)]
    assert all(each.__enter__() for each in held)
    with found.one(FIRST_UID) as room, found.one(FIRST_UID + 1) as others, found.one(0) as supervisor:
        assert (room, others, supervisor) == (False, True, True)
    held.pop().__exit__(None, None, None)
    with found.one(FIRST_UID) as room:
        assert room
    for each in held:
        each.__exit__(None, None, None)
    assert found.nobody()
