"""keysync: keeps this pod's accounts equal to the cluster's DevServerUsers.

It goes on with the accounts it has while the cluster is down.

Invariant: nothing is written before both kinds were listed once, and what is in force stays in force whatever
happens to the API server, the network or this process.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time

from bastion.accounts.render import Rendered, render
from bastion.accounts.store import State, Store
from bastion.logs import setup_logging
from bastion.paths import Paths
from devservers_core.client import kubeconfig
from devservers_core.client.api import ApiClient
from devservers_core.client.paths import user_path
from devservers_core.client.watch import METADATA, Reflector, named
from devservers_core.errors import CommandError
from devservers_core.names import API_VERSION, CLUSTER_DOMAIN

LOG = logging.getLogger("bastion.accounts")
SETTLE = 0.05
"""Seconds in which changes are taken together: a burst of them is written once."""
CONFIRM = 10.0
"""Seconds between two notes of when the cluster was last heard."""
RETRY = 5.0
"""Seconds until it tries again to write what could not be written."""
QUIET = 120.0
"""Seconds without a sign of life after which the note is no longer renewed; bookmarks are a minute apart."""


def main(arguments: list[str] | None = None) -> int:
    """Runs for ever; 2 when there is no cluster to ask."""
    parser = argparse.ArgumentParser(prog="bastion.accounts", description=__doc__)
    parser.add_argument("--shell", default="/usr/local/bin/devctl-session", help="what sshd starts for a person")
    parser.add_argument("--domain", default=CLUSTER_DOMAIN, help="the cluster's DNS domain")
    parser.add_argument("--kubeconfig", help="a kubeconfig file instead of the pod's service account")
    options = parser.parse_args(arguments)
    setup_logging()
    try:
        target = kubeconfig.load(options.kubeconfig, None, os.environ)
    except CommandError as failure:
        LOG.error("%s; %s", failure.what, failure.remedy)
        return 2
    woken, listed = threading.Event(), threading.Event()

    def users_changed(from_list: bool) -> None:
        # Until somebody is seen to go: a list stays one whatever else is heard meanwhile.
        (listed.set if from_list else listed.clear)()
        woken.set()

    users = Reflector(ApiClient(target), user_path(), users_changed)
    names = ApiClient(target, accept=METADATA)
    servers = Reflector(names, f"/apis/{API_VERSION}/devservers", lambda _: woken.set(), named)
    for reflector in (users, servers):
        reflector.start()
    store = Store(Paths.of())
    problems: tuple[str, ...] = ()
    refused = None
    while True:
        if not woken.wait(CONFIRM):
            if store.state and time.monotonic() - min(users.heard, servers.heard) < QUIET and not store.state.refused:
                confirm(store)
            continue
        time.sleep(SETTLE)
        woken.clear()
        if not (users.synced and servers.synced):
            continue
        state = put(store, render(users.objects(), servers.objects(), options.shell, options.domain), listed.is_set())
        if state is None:
            time.sleep(RETRY)
            woken.set()
            continue
        for problem in state.problems:
            if problem not in problems:
                LOG.warning("%s", problem)
        if state.refused and state.refused != refused:
            LOG.error("%s; look at `kubectl get devserverusers`", state.refused)
        problems, refused = state.problems, state.refused


def put(store: Store, rendered: Rendered, listed: bool) -> State | None:
    """What is in force now.

    None when it couldn't be written, for which this process must not end.
    """
    try:
        return store.put(rendered, listed=listed)
    except OSError as error:
        LOG.error("the accounts cannot be written, those before stay in force: %s; trying again", error)
        return None


def confirm(store: Store) -> None:
    """Notes that the cluster was heard of, if that can be written."""
    try:
        store.confirm()
    except OSError as error:
        LOG.error("it cannot be noted when the cluster was last heard: %s", error)


if __name__ == "__main__":
    sys.exit(main())
