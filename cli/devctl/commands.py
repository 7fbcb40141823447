"""The table of commands: what each is called, where it is, and what the overview says of it.

Invariant: nothing of any command is imported to show the overview.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One command: the module that has a function of its name, the summary in the overview, its group there."""

    module: str
    summary: str
    group: str
    raw: bool = False  # everything after NAME belongs to another program

    @property
    def needs_cluster(self) -> bool:
        """Whether it looks at a cluster, and so takes the options that say which."""
        return self.module != "settings"


COMMANDS: dict[str, Entry] = {
    "create": Entry("create", "Make a server and start it", "Servers"),
    "list": Entry("listing", "List your servers", "Servers"),
    "describe": Entry("describe", "Show everything about a server: state, reasons, timeline, events", "Servers"),
    "stop": Entry("lifecycle", "Stop a server and keep its home", "Servers"),
    "start": Entry("lifecycle", "Start a stopped server", "Servers"),
    "restart": Entry("lifecycle", "Restart a server with a fresh container", "Servers"),
    "delete": Entry("lifecycle", "Delete a server; its home stays unless --purge", "Servers"),
    "registry": Entry("registries", "Private image registries: login, list, logout", "Servers"),
    "ssh": Entry("ssh", "Open an SSH session, or run a command over SSH", "Connecting", raw=True),
    "ssh-config": Entry("sshconfig", "Write the SSH entries for ssh, scp, sftp and editors", "Connecting"),
    "code": Entry("editors", "Print or open the link that opens a server in an editor", "Connecting"),
    "keys": Entry("keys", "Your SSH keys: list, add, remove", "Connecting"),
    "proxy": Entry("ssh", "Join stdin and stdout to a server's SSH port (for ProxyCommand)", "Connecting"),
    "shell": Entry("remote", "Open a shell without SSH", "Connecting"),
    "exec": Entry("remote", "Run a command without SSH; its exit code is passed on", "Connecting"),
    "logs": Entry("logs", "Show what a server's command printed", "Looking closer"),
    "events": Entry("events", "Show what happened to your servers", "Looking closer"),
    "flavors": Entry("flavors", "List the sizes a server can have", "Looking closer"),
    "status": Entry("cluster", "Show the platform's state and your quota", "Looking closer"),
    "info": Entry("cluster", "Show the settings in force and where each comes from", "Looking closer"),
    "config": Entry("settings", "Write a setting into the configuration file: set, unset", "Looking closer"),
    "test-k8s": Entry("cluster", "Check the cluster, your rights and the tools, step by step", "Looking closer"),
    "version": Entry("settings", "Print the version", "Looking closer"),
    "user": Entry("users", "People: add, list, show, suspend, resume, delete", "Administrators"),
    "admin": Entry("recordings", "Recorded sessions: sessions list, sessions play", "Administrators"),
}

# the commands of more than one word; the first of them stands above
PARTS: dict[str, Entry] = {
    "keys list": Entry("keys", "List the keys that open your account, and when they end", ""),
    "keys add": Entry("keys", "Add a key", ""),
    "keys remove": Entry("keys", "Remove a key; its sessions end within seconds", ""),
    "registry login": Entry("registries", "Log in, so that your servers can pull its images", ""),
    "registry list": Entry("registries", "List the registries you are logged in to", ""),
    "registry logout": Entry("registries", "Forget a login", ""),
    "config set": Entry("settings", "Set one key", ""),
    "config unset": Entry("settings", "Remove one key", ""),
    "user add": Entry("users", "Let a person onto the platform", ""),
    "user list": Entry("users", "List all people", ""),
    "user show": Entry("users", "Show a person, and what to send them", ""),
    "user suspend": Entry("users", "Stop a person's servers and refuse their keys", ""),
    "user resume": Entry("users", "Undo suspend", ""),
    "user delete": Entry("users", "Remove a person; volumes stay and are named", ""),
    "admin sessions list": Entry("recordings", "List recorded sessions", ""),
    "admin sessions play": Entry("recordings", "Show a recorded session again", ""),
}
GROUPS: dict[str, list[str]] = {
    first: [name.split()[1] for name in PARTS if name.split()[0] == first]
    for first in dict.fromkeys(name.split()[0] for name in PARTS)
}

# flag -> (short form, setting, help); they may stand before or after the command's name
COMMON: dict[str, tuple[str | None, str]] = {
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
waiting, 6 refused; exec, ssh and shell pass on the code of what they ran
(255: no connection)."""

MEANT: dict[str, str] = {
    "ls": "list", "ps": "list", "get": "list", "show": "describe", "inspect": "describe", "rm": "delete",
    "remove": "delete", "destroy": "delete", "new": "create", "run": "create", "up": "start", "down": "stop",
    "kill": "stop", "connect": "ssh", "login": "ssh", "attach": "ssh", "console": "ssh", "log": "logs",
    "sizes": "flavors", "whoami": "info", "settings": "config", "users": "user", "key": "keys",
}  # fmt: skip
"""What people type out of habit, and the command that does it here."""
INSTEAD: dict[str, str] = {
    "top": "`devctl ssh NAME top` shows the processes of a server, `devctl list` the servers",
    "cp": "`scp FILE NAME.devserver:` copies, once `devctl ssh-config --install` was run",
    "scp": "`scp FILE NAME.devserver:` copies, once `devctl ssh-config --install` was run",
    "port-forward": "`devctl ssh NAME -L 8888:localhost:8888` forwards a port",
    "volume": "`devctl create NAME -v CLAIM:/PATH` mounts a volume claim that exists",
    "volumes": "`devctl create NAME -v CLAIM:/PATH` mounts a volume claim that exists",
}
"""What people type out of habit, and how it is done here without a command of its own."""


def overview() -> str:
    """The text of `devctl --help`."""
    lines = ["Usage: devctl [OPTIONS] COMMAND [ARGS]...", "", "  " + OVERVIEW]
    for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {name:<12}{entry.summary}" for name, entry in COMMANDS.items() if entry.group == group]
    lines += ["", "Options (before or after the command):"]
    for flag, (short, text) in COMMON.items():
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
