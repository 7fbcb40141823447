"""The ConfigMap of a distributed server with launcher, host file and SSH configuration.

It is mounted at /opt/devservers/pytorch. Everything in it follows from the server's name, owner and number of replicas.
"""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.distributed.replica_key import PRIVATE_FILE, REPLICA_KEY_PATH
from devservers.build.manifest import child_metadata
from devservers_core.names import LOGIN, SSH_POD_PORT
from devservers_core.replicas import replica_names, replicas_domain
from devservers_core.types import Json

LAUNCH_PATH = "/opt/devservers/pytorch"
SSH_CONFIG_FILE = "ssh_config"
SSH_CONFIG_PATH = "/etc/ssh/ssh_config.d/10-devservers.conf"
"""Where Debian's and Red Hat's OpenSSH clients look; elsewhere `ssh -F /opt/devservers/pytorch/ssh_config`."""

_ON_ALL = """\
#!/bin/sh
# Runs one command line on every replica, in this folder, with the replica's number before each line of its output.
# The exit code is that of the first replica, by number, whose command failed.
[ $# -gt 0 ] || { echo "on-all-replicas: write on-all-replicas COMMAND [ARGUMENT...]" >&2; exit 2; }
line=
for argument do line="$line '$(printf %s "$argument" | sed "s/'/'\\\\\\\\''/g")'"; done
place=$(printf %s "$PWD" | sed "s/'/'\\\\\\\\''/g")
codes=$(mktemp -d) || exit 1
trap 'rm -rf "$codes"' EXIT
number=0
while [ "$number" -lt "$DEVSERVERS_REPLICAS" ]; do
  {
    { ssh -n -F /opt/devservers/pytorch/ssh_config "$DEVSERVERS_NAME-$number" "cd '$place' && exec $line" 2>&1
      echo $? > "$codes/$number"; } | sed -u "s/^/[$number] /"
  } &
  number=$((number + 1))
done
wait
number=0
while [ "$number" -lt "$DEVSERVERS_REPLICAS" ]; do
  code=$(cat "$codes/$number" 2>/dev/null || echo 1)
  [ "$code" -eq 0 ] || exit "$code"
  number=$((number + 1))
done
"""


def launch_name(server: str) -> str:
    """The ConfigMap's name."""
    return f"{server}-launch"


def launch_config_map(
    server: DevServer, user: DevServerUser, replicas: int, processes: int, host_ca_public: str
) -> Json:
    """The ConfigMap `<server>-launch`; `host_ca_public` is the line of the authority that signs host keys."""
    names, domain = replica_names(server.name, replicas), replicas_domain(server.name, user.name)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(launch_name(server.name), server, user),
        "data": {
            "hostfile": "".join(f"{name}.{domain} slots={processes}\n" for name in names),
            "known_hosts": f"@cert-authority *.{domain},[*.{domain}]:{SSH_POD_PORT} {host_ca_public}\n",
            SSH_CONFIG_FILE: _ssh_config(names, domain),
            "on-all-replicas": _ON_ALL,
        },
    }


def _ssh_config(names: tuple[str, ...], domain: str) -> str:
    """The client's configuration: each replica by its short name, and its host key by the authority alone."""
    return (
        f"Host {' '.join(names)}\n"
        f"  HostName %h.{domain}\n"
        f"Host {' '.join(f'{name}.{domain}' for name in names)} {' '.join(names)}\n"
        f"  Port {SSH_POD_PORT}\n"
        f"  User {LOGIN}\n"
        f"  IdentityFile {REPLICA_KEY_PATH}/{PRIVATE_FILE}\n"
        "  IdentitiesOnly yes\n"
        f"  GlobalKnownHostsFile {LAUNCH_PATH}/known_hosts\n"
        "  UserKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
        "  CheckHostIP no\n"
    )
