"""A person's set-up in a real server: dotfiles, a script that fails, variables, and secrets of all servers and of one.

The repository lies in the server's own home, and git reaches it by the server's own sshd on loopback: nothing outside
the pod is needed. The key for it is a secret of the set-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from devservers_core.names import SSH_POD_PORT
from tests.support.node.person import Person
from tests.support.node.wait import eventually

NAME = "set-up"
KEY_FILE = "/etc/devservers/secrets/dotfiles-key"
LOG = ".local/state/devserver/setup.log"
REPOSITORY = f"ssh://dev@127.0.0.1:{SSH_POD_PORT}/home/dev/source"
MAKE_REPOSITORY = f"""
set -e
mkdir -p -m 700 ~/.ssh
printf 'Host 127.0.0.1\\n  IdentityFile {KEY_FILE}\\n  IdentitiesOnly yes\\n' > ~/.ssh/config
git init -q -b main ~/source
cd ~/source
printf '#!/bin/sh\\necho "$TOKEN" > ~/installed\\n' > install.sh
git add install.sh
git -c user.name=ann -c user.email=ann@example.org commit -q -m dotfiles
"""
SCRIPT = """#!/bin/sh
echo "the script says $GREETING"
exit 7
"""


@pytest.fixture
def started(ann: Person) -> Iterator[str]:
    """A server that had a set-up with secrets at its start; its own secret wins over the set-up's."""
    config = yaml.safe_load(Path(ann.platform.env["XDG_CONFIG_HOME"], "devctl/config.yaml").read_text())
    try:
        ann.devctl("secret", "set", "token", text="of-all-servers\n")
        ann.devctl("secret", "set", "own", text="of-this-server\n")
        ann.devctl("secret", "set", "key", text=Path(config["identityFile"]).read_text())
        ann.devctl(
            "setup", "set", "--secret", "TOKEN=token", "--secret", "BOTH=token", "--secret-file", "dotfiles-key=key"
        )
        ann.devctl("create", NAME, "-e", "GREETING=hello", "--secret", "BOTH=own", "--wait", "3m")
        yield NAME
    finally:
        ann.devctl("delete", NAME, "--yes", "--purge", check=False)
        ann.devctl("setup", "clear", "--yes", check=False)
        for secret in ("token", "own", "key"):
            ann.devctl("secret", "delete", secret, "--yes", check=False)


def test_set_up_is_applied_at_a_start_and_a_failing_script_keeps_nobody_out(ann: Person, started: str) -> None:
    values = ann.ssh(started, f"printenv TOKEN BOTH GREETING; stat -Lc %a {KEY_FILE}; head -1 {KEY_FILE}").stdout
    assert values.splitlines() == [
        "of-all-servers", "of-this-server", "hello", "440", "-----BEGIN OPENSSH PRIVATE KEY-----",
    ]  # fmt: skip
    assert [line.split()[0] for line in ann.devctl("secret", "list").stdout.splitlines()[1:]] == ["key", "own", "token"]
    ann.ssh(started, MAKE_REPOSITORY)
    ann.devctl("setup", "set", "--dotfiles", REPOSITORY, "--branch", "main", "--script", "-", text=SCRIPT)
    ann.devctl("restart", started, "--yes", "--wait", "3m")
    log = eventually(lambda: _ended(ann, started), "the end of the script in the log", 20)
    assert "== dotfiles: exit code 0 after" in log
    assert "== dotfiles-install: exit code 0 after" in log
    assert "the script says hello\n== script: exit code 7 after" in log
    assert ann.ssh(started, "cat installed .dotfiles/install.sh").stdout.startswith("of-all-servers\n#!/bin/sh")
    described = ann.devctl("describe", started).stdout
    assert "TOKEN from token (of your set-up" in described
    assert "BOTH from own\n" in described


def _ended(ann: Person, name: str) -> str:
    """The log of the set-up once its last step has ended; SSH answers all the while."""
    log = ann.ssh(name, f"cat {LOG} || true").stdout
    return log if "== script: exit code" in log else ""
