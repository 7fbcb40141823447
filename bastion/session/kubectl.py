"""Invariant: kubectl reads and writes nothing of the bastion, starts no other program, opens no port, and speaks to
one API server as one person.

So: verbs that are listed, no flag that names a file, another server or another identity. What the person may do
there is the API server's to say. Pure, but for the file without a name that a kubeconfig is handed over in.
"""

from __future__ import annotations

from bastion.session.words import Refused

VERBS = frozenset(
    {
        "get", "describe", "logs", "exec", "events", "explain", "api-resources", "api-versions", "auth", "version",
        "wait", "delete", "apply", "create", "patch", "label", "annotate", "top", "help", "options",
    }
)  # fmt: skip
"""Not among them: edit (starts an editor), cp (writes files), proxy and port-forward (open ports), config, plugins."""
REFUSED_FLAGS = frozenset(
    {
        "kubeconfig", "context", "cluster", "user", "server", "token", "as", "as-group", "as-uid", "as-user-extra",
        "username", "password", "certificate-authority", "client-certificate", "client-key", "tls-server-name",
        "insecure-skip-tls-verify", "cache-dir", "kuberc", "profile", "profile-output", "kustomize", "from-file",
        "from-env-file", "patch-file", "log-file", "log-dir", "cert", "key", "edit", "raw",
        "template",
    }
)  # fmt: skip
_SWITCHES = "AwRitqh"
"""Short flags that take no value, so that another may follow in the same word; of logs, f and p are two more."""
_REFUSED_SHORT = "sk"
_ONLY_STDIN = "give what it says on standard input, with `-f -`"


def check(argv: list[str]) -> None:
    """Raises Refused for a kubectl command line that may not be run here."""
    # exec's own command begins at `--`, and belongs to the pod.
    words = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    if words in ([], ["--help"], ["-h"]):
        return
    verb = words[0]
    if verb.startswith("-"):
        # The value of a flag before it could be taken for the verb.
        raise Refused("kubectl takes its command first here, like `kubectl get pods`")
    if verb not in VERBS or "edit-last-applied" in words:
        raise Refused(f"kubectl {_shown(verb)} is not possible on the bastion; possible: {', '.join(sorted(VERBS))}")
    at = 1
    while at < len(words):
        word, following = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 1
        if word.startswith("--"):
            _long(word[2:], following)
        elif word.startswith("-") and word != "-":
            at += _short(word[1:], following, verb)


def _long(flag: str, following: str) -> None:
    name, separator, value = flag.partition("=")
    value = value if separator else following
    if name in REFUSED_FLAGS:
        raise Refused(f"kubectl --{name} is not possible on the bastion; it has one cluster, and files of nobody")
    if name == "filename" and value != "-":
        raise Refused(f"kubectl reads no files of the bastion; {_ONLY_STDIN}")
    if name == "output":
        _output(value)


def _short(flags: str, following: str, verb: str) -> int:
    """How many of the following words are a value of these short flags. Raises Refused."""
    switches = _SWITCHES + ("fp" if verb == "logs" else "")
    for number, flag in enumerate(flags):
        if flag in switches:
            continue
        rest = flags[number + 1 :].removeprefix("=")
        value, taken = (rest, 0) if flags[number + 1 :] else (following, not following.startswith("-"))
        if flag in _REFUSED_SHORT:
            raise Refused(f"kubectl -{flag} is not possible on the bastion; it has one cluster, and files of nobody")
        if flag == "f" and value != "-":
            raise Refused(f"kubectl reads no files of the bastion; {_ONLY_STDIN}")
        if flag == "o":
            _output(value)
        return taken
    return 0


def _output(value: str) -> None:
    if "file" in value.partition("=")[0]:
        raise Refused("kubectl reads no files of the bastion; write the template out: -o jsonpath={.metadata.name}")


def _shown(word: str) -> str:
    return repr("".join(char if char.isprintable() else "?" for char in word[:40]))


def kubeconfig(devctl: str, grant: dict[str, str]) -> bytes:
    """A kubeconfig (JSON is YAML) whose log-in program is devctl, so that no token is in it."""
    import json

    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": devctl,
        "args": ["credential"],
        "interactiveMode": "Never",
    }
    cluster = {"server": grant["server"], "certificate-authority-data": grant["certificateAuthority"]}
    context = {"cluster": "bastion", "user": "bastion", "namespace": grant["namespace"]}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bastion",
            "clusters": [{"name": "bastion", "cluster": cluster}],
            "users": [{"name": "bastion", "user": {"exec": exec_}}],
            "contexts": [{"name": "bastion", "context": context}],
        }
    ).encode()
