"""Nobody takes a socket from the others by many connections."""

from __future__ import annotations

from bastion.audit.peers import MAX_PEERS, Peers
from devservers_core.names import FIRST_UID


def test_peers_of_one_user_are_limited_and_others_are_admitted() -> None:
    found = Peers()
    held = [found.admit(FIRST_UID) for _ in range(MAX_PEERS)]
    assert all(each.__enter__() for each in held)
    with found.admit(FIRST_UID) as room, found.admit(FIRST_UID + 1) as others, found.admit(0) as supervisor:
        assert (room, others, supervisor) == (False, True, True)
    held.pop().__exit__(None, None, None)
    with found.admit(FIRST_UID) as room:
        assert room
    for each in held:
        each.__exit__(None, None, None)
    assert found.is_empty()
