"""Fixtures of the bastion's tests: replicas of a bastion, new for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.bastion.bastion import Client, Replica, World, server, user, world
from tests.support.bastion.schema import problems


@pytest.fixture
def fresh() -> Iterator[World]:
    """An empty world; at its end every audit line in it was one that the schema describes."""
    with world() as found:
        yield found
        for replica in found.replicas:
            for line in replica.lines():
                assert not problems(line), line


@pytest.fixture
def pair(fresh: World) -> tuple[Client, Replica]:
    """A replica that knows two people, ann with a server and bob with another."""
    client, replica = fresh.client, fresh.replica()
    people = [user(client, "ann", 20000), user(client, "bob", 20001), user(client, "carol", 20002)]
    replica.put(people, [server("mydev", "ann"), server("theirs", "bob")])
    replica.start()
    return client, replica
