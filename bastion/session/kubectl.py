"""Checks kubectl command lines, and writes the kubeconfig of a session.

Invariant: kubectl reads and writes nothing of the bastion, starts no other program, opens no port, and speaks to
one API server as one person.

So: verbs and flags that are listed, none of which names a file, another server or another identity. What the person
may do there is the API server's to say. Pure, but for the file without a name that a kubeconfig is handed over in.

The words are read as pflag reads them (github.com/spf13/pflag: parseLongArg, parseSingleShortArg), and where a flag's
value stands for itself it begins with no dash: so a word that is a flag for kubectl is one here too, even if a
version of it should take a value where another doesn't.
"""

from __future__ import annotations

from bastion.session.errors import CommandRefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from devservers_core.protocol.broker import TokenAnswer

VERBS = frozenset(
    {
        "get", "describe", "logs", "exec", "events", "explain", "api-resources", "api-versions", "auth", "version",
        "wait", "delete", "apply", "create", "patch", "label", "annotate", "top", "help", "options",
    }
)  # fmt: skip
"""Not among them: edit (starts an editor), cp (writes files), proxy and port-forward (open ports), config, plugins."""
SWITCHES = frozenset(
    {
        "all", "all-containers", "all-namespaces", "all-pods", "allow-missing-template-keys", "append-hash", "cached",
        "cascade", "client", "containers", "create-annotation", "dry-run", "follow", "force", "force-conflicts", "help",
        "ignore-errors", "ignore-not-found", "interactive", "list", "local", "namespaced", "no-headers", "now",
        "openapi-patch", "output-watch-events", "overwrite", "prefix", "previous", "prune", "quiet", "recursive",
        "save-config", "server-print", "server-side", "show-capacity", "show-events", "show-kind", "show-labels",
        "show-managed-fields", "show-swap", "stdin", "sum", "timestamps", "tty", "validate", "wait", "watch",
        "watch-only",
    }
)  # fmt: skip
"""Flags that take a value after `=` only."""
VALUES = frozenset(
    {
        "api-group", "api-version", "categories", "chunk-size", "container", "field-manager", "field-selector",
        "filename", "for", "from-literal", "grace-period", "label-columns", "limit-bytes", "max-log-requests",
        "namespace", "output", "patch", "pod-running-timeout", "request-timeout", "resource-version", "selector",
        "since", "since-time", "sort-by", "subresource", "tail", "timeout", "type", "types", "verbs",
    }
)  # fmt: skip
"""Flags that take a value, after `=` or as the next word."""
SHORT = {
    "A": "all-namespaces", "L": "label-columns", "R": "recursive", "c": "container", "f": "filename", "h": "help",
    "i": "stdin", "l": "selector", "n": "namespace", "o": "output", "q": "quiet", "t": "tty", "w": "watch",
}  # fmt: skip
SHORT_OF = {"logs": {"f": "follow", "p": "previous"}, "patch": {"p": "patch"}, "delete": {"i": "interactive"}}
"""What a letter means for one verb only."""
OUTPUTS = frozenset({"", "json", "yaml", "wide", "name", "plaintext", "plaintext-openapiv2"})
TEMPLATES = ("jsonpath=", "jsonpath-as-json=", "go-template=", "custom-columns=")
"""Templates that are written out; each has a twin that reads a file."""


def check(argv: list[str]) -> None:
    """Raises CommandRefusedError for a kubectl command line that may not be run here."""
    arguments = argv[1:]
    if arguments in ([], ["--help"], ["-h"]):
        return
    verb = arguments[0]
    if verb.startswith("-"):
        # The value of a flag before it could be taken for the verb.
        raise CommandRefusedError("kubectl takes its command first here, like `kubectl get pods`")
    if verb not in VERBS:
        raise CommandRefusedError(
            f"kubectl {_shown(verb)} is not possible on the bastion; possible: {', '.join(sorted(VERBS))}"
        )
    at = 1
    while at < len(arguments):
        word, following = arguments[at], arguments[at + 1] if at + 1 < len(arguments) else None
        at += 1
        if word == "--":
            if verb != "exec":
                raise CommandRefusedError("kubectl takes `--` here before the command of exec only; leave it out")
            return  # the rest belongs to the pod
        if word == "edit-last-applied":
            raise CommandRefusedError(
                "kubectl starts no editor on the bastion; send the object with `kubectl apply -f -`"
            )
        if word.startswith("--"):
            at += _long(word[2:], following)
        elif word.startswith("-") and word != "-":
            at += _short(word[1:], following, verb)


def reads_objects(argv: list[str]) -> bool:
    """Whether a command line that `check` has passed reads objects from standard input: `-f -` in any spelling."""
    arguments = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    return any(word == "-" or (word.startswith("-") and word.endswith(("=-", "f-"))) for word in arguments)


def _long(flag: str, following: str | None) -> int:
    """How many of the following words are its value. Raises CommandRefusedError."""
    name, separator, value = flag.partition("=")
    if name in SWITCHES:
        return 0
    if name not in VALUES:
        raise _unknown("--" + name)
    return _value("--" + name, name, value if separator else None, following)


def _short(flags: str, following: str | None, verb: str) -> int:
    """How many of the following words are the value of the last of these short flags. Raises CommandRefusedError."""
    meaning = SHORT | SHORT_OF.get(verb, {})
    while flags:
        flag, flags = flags[0], flags[1:]
        name = meaning.get(flag)
        if name is None:
            raise _unknown("-" + flag)
        if name not in SWITCHES:
            # As pflag has it: of `-n=x` the value is x, of `-n=` it is `=`.
            own = flags[1:] if len(flags) > 1 and flags[0] == "=" else flags
            return _value("-" + flag, name, own or None, following)
        if len(flags) > 1 and flags[0] == "=":
            return 0
    return 0


def _value(shown: str, name: str, own: str | None, following: str | None) -> int:
    """Looks at a flag's value: `own` is of the same word. How many further words it takes.

    Raises CommandRefusedError.
    """
    value = following if own is None else own
    if value is None:
        raise CommandRefusedError(f"kubectl {shown} needs a value")
    if name == "filename" and value != "-":
        raise CommandRefusedError(
            "kubectl reads no files of the bastion; give what it says on standard input, with `-f -`"
        )
    if value == "--" or (own is None and value.startswith("-") and value != "-"):
        raise CommandRefusedError(
            f"kubectl {shown} needs a value; one that begins with a dash is written like --tail=-1"
        )
    if name == "output" and value not in OUTPUTS and not value.startswith(TEMPLATES):
        outputs = ", ".join(sorted(OUTPUTS - {""}))
        raise CommandRefusedError(
            f"kubectl's output here is one of {outputs}, or a template: -o jsonpath={{.metadata.name}}"
        )
    return 1 if own is None else 0


def _unknown(flag: str) -> CommandRefusedError:
    shown = "".join(char if char.isprintable() else "?" for char in flag[:40])
    return CommandRefusedError(
        f"kubectl {shown} is not possible on the bastion; it has one cluster, one identity and no files"
    )


def _shown(word: str) -> str:
    return repr("".join(char if char.isprintable() else "?" for char in word[:40]))


def kubeconfig(devctl: str, grant: TokenAnswer) -> bytes:
    """A kubeconfig whose log-in program is devctl, so that no token is in it."""
    import json

    from devservers_core.client.kubeconfig import document

    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": devctl,
        "args": ["credential"],
        "interactiveMode": "Never",
    }
    cluster = {"server": grant.server, "certificate-authority-data": grant.certificate_authority}
    return json.dumps(document("bastion", cluster, {"exec": exec_}, grant.namespace)).encode()
