"""The table of commands: name, module, summary, and where each runs.

Invariant: no command is imported to show the overview.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Runs = Literal["local", "bastion", "bastion unless --user"]
"""Where a command runs on a machine that has a bastion configured, and no kubeconfig or context asked for."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        module: the module below devctl.commands, like `servers.create`, that has a function of the command's name.
        summary: the line in the overview.
        group: the heading in the overview, "" for a subcommand.
        runs: on which machine. "local" commands concern this machine, or need an administrator's own credentials.
            Without a bastion every command runs on this machine.
        raw: whether everything after NAME belongs to another program.
        script_options: of a command in the form `COMMAND NAME SCRIPT ARGS...`, whose ARGS belong to the script: its
            options with a value. None for every other form.
    """

    module: str
    summary: str
    group: str
    runs: Runs
    raw: bool = False
    script_options: frozenset[str] | None = None

    @property
    def needs_cluster(self) -> bool:
        """Whether it reads a cluster, and so takes the options that say which."""
        return self.module != "platform.config"


COMMANDS: dict[str, Command] = {
    "create": Command("servers.create", "Make a server and start it", "Servers", "bastion"),
    "list": Command("servers.list", "List your servers", "Servers", "bastion"),
    "describe": Command(
        "servers.describe", "Show everything about a server: state, reasons, timeline, events", "Servers", "bastion"
    ),
    "stop": Command("servers.lifecycle", "Stop a server; a persistent home stays", "Servers", "bastion"),
    "start": Command("servers.lifecycle", "Start a stopped server", "Servers", "bastion"),
    "restart": Command("servers.lifecycle", "Restart a server with a fresh container", "Servers", "bastion"),
    "update": Command(
        "servers.update", "Change a server and keep its volumes: flavor, image, home", "Servers", "bastion"
    ),
    "extend": Command("servers.extend", "Give a running server more time", "Servers", "bastion"),
    "hold": Command("servers.hold", "Keep a server running though nothing happens in it", "Servers", "bastion"),
    "release": Command("servers.hold", "End a hold", "Servers", "bastion"),
    "delete": Command(
        "servers.delete", "Delete a server; a persistent home stays unless --purge", "Servers", "bastion"
    ),
    "registry": Command("access.registry", "Private image registries: login, list, logout", "Servers", "bastion"),
    "volume": Command("volumes.volume", "Volumes: create, list, grow, delete, snapshot, restore", "Servers", "bastion"),
    "secret": Command("access.secret", "Secrets of your servers: set, list, delete", "Servers", "bastion"),
    "setup": Command(
        "access.setup", "Dotfiles, script, secrets of all servers: set, show, clear", "Servers", "bastion"
    ),
    "ssh": Command("access.ssh", "Open an SSH session, or run a command over SSH", "Connecting", "local", raw=True),
    "ssh-config": Command(
        "access.ssh_config", "Write the SSH entries for ssh, scp, sftp and editors", "Connecting", "local"
    ),
    "run": Command(
        "runs.run",
        "Send this folder and run a script or command in it",
        "Runs",
        "local",
        script_options=frozenset({"--name", "--dir", "--env", "--nproc-per-node"}),
    ),
    "runs": Command("runs.list", "List the runs of a server", "Runs", "bastion"),
    "attach": Command("runs.attach", "Follow the output of a run", "Runs", "local"),
    "cancel": Command("runs.cancel", "End a run", "Runs", "bastion"),
    "fetch": Command("runs.fetch", "Copy results of a run to this machine", "Runs", "local"),
    "cp": Command("access.cp", "Copy files between this machine and a server", "Connecting", "local"),
    "port-forward": Command("access.port_forward", "Reach ports of a server from this machine", "Connecting", "local"),
    "code": Command("access.code", "Print or open the link that opens a server in an editor", "Connecting", "local"),
    "keys": Command("access.keys", "Your SSH keys: list, add, remove", "Connecting", "bastion unless --user"),
    "proxy": Command(
        "access.ssh", "Join stdin and stdout to a server's SSH port (for ProxyCommand)", "Connecting", "bastion"
    ),
    "shell": Command("access.exec", "Open a shell without SSH", "Connecting", "bastion"),
    "exec": Command("access.exec", "Run a command without SSH; its exit code is passed on", "Connecting", "bastion"),
    "logs": Command("servers.logs", "Show what a server's command printed", "Looking closer", "bastion"),
    "events": Command("servers.events", "Show what happened to your servers", "Looking closer", "bastion"),
    "flavors": Command("platform.flavors", "List the sizes a server can have", "Looking closer", "bastion"),
    "status": Command("platform.status", "Show the platform's state and your quota", "Looking closer", "bastion"),
    "info": Command("platform.info", "Show the settings in force and where each comes from", "Looking closer", "local"),
    "config": Command(
        "platform.config", "Write a setting into the configuration file: set, unset", "Looking closer", "local"
    ),
    "test-k8s": Command(
        "platform.test_k8s", "Check the cluster, your rights and the tools, step by step", "Looking closer", "bastion"
    ),
    "version": Command(
        "platform.version", "Print the versions of devctl and of the platform", "Looking closer", "local"
    ),
    "user": Command(
        "people.user", "Users: add, set, import, list, show, suspend, resume, delete", "Administrators", "local"
    ),
    "admin": Command(
        "platform.admin", "Recorded sessions, holds, cleanup of unused servers", "Administrators", "local"
    ),
}
# Commands of two or three words; the first word is an entry above.
SUBCOMMANDS: dict[str, Command] = {
    "keys list": Command(
        "access.keys", "List the keys that open your account, and when they end", "", "bastion unless --user"
    ),
    "keys add": Command("access.keys", "Add a key", "", "bastion unless --user"),
    "keys remove": Command("access.keys", "Remove a key; its sessions end within seconds", "", "bastion unless --user"),
    "registry login": Command("access.registry", "Log in, so that your servers can pull its images", "", "bastion"),
    "registry list": Command("access.registry", "List the registries you are logged in to", "", "bastion"),
    "registry logout": Command("access.registry", "Forget a login", "", "bastion"),
    "volume create": Command("volumes.volume", "Make a volume", "", "bastion"),
    "volume list": Command("volumes.volume", "List your volumes: size, use, who mounts them", "", "bastion"),
    "volume grow": Command("volumes.volume", "Make a volume larger", "", "bastion"),
    "volume delete": Command("volumes.volume", "Delete a volume that no server uses", "", "bastion"),
    "volume snapshot create": Command("volumes.snapshot", "Take a snapshot of a volume", "", "bastion"),
    "volume snapshot list": Command("volumes.snapshot", "List your snapshots", "", "bastion"),
    "volume snapshot delete": Command("volumes.snapshot", "Delete a snapshot", "", "bastion"),
    "volume restore": Command("volumes.snapshot", "Make a volume of a snapshot", "", "bastion"),
    "secret set": Command("access.secret", "Set a secret; its value is never an argument", "", "bastion"),
    "secret list": Command("access.secret", "List names, keys and times of your secrets", "", "bastion"),
    "secret delete": Command("access.secret", "Delete a secret", "", "bastion"),
    "setup set": Command("access.setup", "Set your dotfiles, your script or your secrets", "", "bastion"),
    "setup show": Command("access.setup", "Show your set-up", "", "bastion"),
    "setup clear": Command("access.setup", "Remove your set-up", "", "bastion"),
    "config set": Command("platform.config", "Set one key", "", "local"),
    "config unset": Command("platform.config", "Remove one key", "", "local"),
    "user add": Command("people.user", "Add a user", "", "local"),
    "user set": Command("people.user_set", "Change what a user may use", "", "local"),
    "user import": Command("people.user_import", "Add and change many users from a file", "", "local"),
    "user list": Command("people.user", "List all users", "", "local"),
    "user show": Command("people.user", "Show a user, and what to send them", "", "local"),
    "user suspend": Command("people.user", "Stop a user's servers and refuse their keys", "", "local"),
    "user resume": Command("people.user", "Undo suspend", "", "local"),
    "user delete": Command("people.user", "Delete a user; volumes are kept and named", "", "local"),
    "admin holds": Command("platform.admin_holds", "List the holds of all servers", "", "local"),
    "admin cleanup": Command(
        "platform.admin_cleanup", "Stop and delete servers that nobody used for long", "", "local"
    ),
    "admin sessions list": Command("platform.admin", "List recorded sessions", "", "local"),
    "admin sessions play": Command("platform.admin", "Show a recorded session again", "", "local"),
}


def subcommands(group: str) -> list[str]:
    """The next words of a group of one or two words."""
    return list(dict.fromkeys(name[len(group) :].split()[0] for name in SUBCOMMANDS if name.startswith(f"{group} ")))


GROUPS: dict[str, list[str]] = {
    first: subcommands(first) for first in dict.fromkeys(name.split()[0] for name in SUBCOMMANDS)
}
# Groups within a group, and their summaries.
SUBGROUPS = {
    "volume snapshot": "Snapshots of your volumes: create, list, delete",
    "admin sessions": "Recorded sessions: list, play",
}
# flag -> (short form, help); accepted before and after the command's name
COMMON_OPTIONS: dict[str, tuple[str | None, str]] = {
    "context": (None, "Context of the kubeconfig."),
    "kubeconfig": (None, "Kubeconfig file, or a list as in $KUBECONFIG."),
    "namespace": ("-n", "Namespace of the servers; dev-USER by default."),
    "user": (None, "Owner of the servers; see `devctl info`."),
}
OVERVIEW = "Personal development servers on Kubernetes: make one, log in, keep your home."
EPILOG = """\
First steps: devctl create mydev --wait; devctl ssh mydev
`devctl help COMMAND` explains a command.
Settings come from a flag, then from a DEVCTL_* variable, then from the file
~/.config/devctl/config.yaml.
Exit codes: 0 done, 1 failure, 2 usage, 3 not found, 4 forbidden, 5 timed out
waiting, 6 refused; exec, ssh, shell, run, attach, cp and port-forward pass
on the code of what they ran (255: no connection)."""
SYNONYMS: dict[str, str] = {
    "ls": "list", "ps": "list", "get": "list", "show": "describe", "inspect": "describe", "rm": "delete",
    "remove": "delete", "destroy": "delete", "new": "create", "up": "start", "down": "stop",
    "kill": "stop", "connect": "ssh", "login": "ssh", "console": "ssh", "log": "logs",
    "sizes": "flavors", "whoami": "info", "settings": "config", "users": "user", "key": "keys",
    "volumes": "volume", "pvc": "volume",
    "resize": "update", "edit": "update", "scp": "cp", "copy": "cp", "forward": "port-forward",
}  # fmt: skip
"""Commands of other programs, and the command of devctl that does the same."""
ALTERNATIVES: dict[str, str] = {
    "top": "`devctl ssh NAME top` shows the processes of a server, `devctl list` the servers",
}
"""Commands of other programs that devctl has no command for, and what to do instead."""


def overview() -> str:
    """The text of `devctl --help`."""
    lines = ["Usage: devctl [OPTIONS] COMMAND [ARGS]...", "", "  " + OVERVIEW]
    for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {name:<14}{entry.summary}" for name, entry in COMMANDS.items() if entry.group == group]
    lines += ["", "Options (before or after the command):"]
    for flag, (short, text) in COMMON_OPTIONS.items():
        lines.append(f"  {(short + ', ' if short else '') + '--' + flag:<24}{text}")
    lines += [
        f"  {'--debug':<24}Show a traceback when something goes wrong.",
        f"  {'--version':<24}Show the version.",
        f"  {'--install-completion':<24}Install completion for the current shell.",
        f"  {'--show-completion':<24}Print the completion script.",
        f"  {'-h, --help':<24}Show this text.",
        "",
        EPILOG,
    ]
    return "\n".join(lines)
