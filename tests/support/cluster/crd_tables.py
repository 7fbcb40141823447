"""Examples with every field set, and what each CEL rule accepts and refuses.

A row is (kind, path, value[, message]) and changes one place of the example of its kind. Schema constraints are not
here: test_crds.py takes those from the schema itself.
"""

from __future__ import annotations

from typing import Any

API_VERSION = "devservers.io/v1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yp0cFzYy0V0Z0Y0cFzYy0V0Z0Y0cFzYy0V0Z0Y0cF ann@laptop"
KEY_2 = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA=="
GIT_URLS = (
    "https://example.org/ann/dotfiles.git", "https://git.example.org:8443/~ann/dotfiles#x", "ssh://git@example.org/a/b",
    "ssh://example.org:22/a", "git@github.com:ann/dotfiles", "git@example.org:/srv/a", "https://a/@b",
)  # fmt: skip
NO_GIT_URLS = (
    "", "dotfiles", "file:///etc", "https://", "a b@c:d", "http://example.org/a", "ext::sh -c id", "https://a/b c",
    "https://a/b\n", "https://a/b\nc", "-oProxyCommand=x@h:a",
)  # fmt: skip
GIT_URLS_NOT_CLONED = (
    "https://a", "git://example.org/a", "https://ann@example.org/a", "https://ann:token@example.org/a", "git@-h:a",
    "git@h:-x", "https://-oProxyCommand=x/", "ssh://-oProxyCommand=x/y", "ssh://git@-h/y", "https://a/\x1b[31m",
    "https://a/ä", "-o@h:a",
)  # fmt: skip
"""Git URLs that no server clones, for what they would run, show or give away."""
DIGEST = "@sha256:" + "0123456789abcdef" * 4

EXAMPLES: dict[str, dict[str, Any]] = {
    "DevServer": {
        "apiVersion": API_VERSION,
        "kind": "DevServer",
        "metadata": {"name": "mydev"},
        "spec": {
            "owner": "ann",
            "flavor": "cpu-small",
            "image": "ghcr.io/team/image:v1",
            "command": ["python3", "-m", "http.server"],
            "args": ["8000"],
            "env": [{"name": "GREETING", "value": "hello"}],
            "secrets": [
                {"name": "huggingface", "key": "value", "env": "HF_TOKEN"},
                {"name": "deploy", "key": "id", "file": "id_ed25519"},
            ],
            "mode": "distributed",
            "distributed": {
                "replicas": 2,
                "nprocsPerNode": 1,
                "worldSize": 2,
                "backend": "gloo",
                "ncclSettings": {"NCCL_DEBUG": "INFO"},
            },
            "persistentHomeSize": "10Gi",
            "sharedVolumeClaimName": "team",
            "volumes": [{"claimName": "data", "mountPath": "/data", "readOnly": True}],
            "enableSSH": True,
            "running": True,
            "lifecycle": {
                "timeToLive": "2h30m",
                "expirationTime": "2027-01-01T00:00:00Z",
                "extendUntil": "2027-01-02T00:00:00Z",
                "idleTimeout": "30m",
                "autoShutdown": False,
                "onExpiry": "delete",
                "hold": {"until": "2027-01-01T00:00:00Z", "reason": "a long run"},
                "gracePeriod": "90s",
                "wish": "w-1",
                "override": {"reason": "a paper's deadline"},
            },
        },
    },
    "DevServerFlavor": {
        "apiVersion": API_VERSION,
        "kind": "DevServerFlavor",
        "metadata": {"name": "gpu-small"},
        "spec": {
            "description": "One small GPU",
            "resources": {
                "requests": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": 1},
                "limits": {"cpu": 2, "memory": "2Gi", "nvidia.com/gpu": "1"},
            },
            "nodeSelector": {"gpu": "small"},
            "tolerations": [
                {
                    "key": "gpu",
                    "operator": "Equal",
                    "value": "yes",
                    "effect": "NoExecute",
                    "tolerationSeconds": 60,
                }
            ],
            "pricePerHour": 0.75,
            "image": "registry.example.org/ml/pytorch:1",
            "queue": "gpus",
            "shmSize": "8Gi",
            "idle": {"cpuMillicores": 50, "gpuPercent": 5},
            "lifecycle": {
                "timeToLive": "8h",
                "idleTimeout": "1h",
                "maxTimeToLive": "1d",
                "maxExtension": "12h",
                "maxIdleTimeout": "4h",
                "maxHold": "1d",
            },
            "workingHours": {
                "stopAt": "20:00",
                "timeZone": "Europe/Berlin",
                "days": ["Mon"],
                "idleTimeout": "15m",
            },
        },
    },
    "DevServerUser": {
        "apiVersion": API_VERSION,
        "kind": "DevServerUser",
        "metadata": {"name": "ann"},
        "spec": {
            "username": "ann",
            "email": "ann@example.org",
            "sshPublicKeys": [KEY, KEY_2],
            "sshKeys": [{"name": "laptop-2026", "key": KEY, "expires": "2027-01-01T00:00:00Z"}],
            "flavors": ["cpu-small", "gpu-small"],
            "quota": {"gpu": 1, "cpu": "16", "memory": "64Gi", "servers": 3, "storage": "500Gi", "snapshots": 5},
            "env": [{"name": "EDITOR", "value": "vim"}],
            "secrets": [
                {"name": "huggingface", "key": "value", "env": "HF_TOKEN"},
                {"name": "deploy", "key": "id", "file": "id_ed25519"},
            ],
            "lifecycle": {"maxTimeToLive": "2d", "maxExtension": "1d", "maxIdleTimeout": "4h", "maxHold": "1d"},
            "workingHours": {
                "stopAt": "20:00",
                "timeZone": "Europe/Berlin",
                "days": ["Mon"],
                "idleTimeout": "15m",
            },
            "timeZone": "Europe/Berlin",
            "managedBy": "command",
            "dotfiles": "https://example.org/ann/dotfiles.git",
            "suspended": False,
        },
    },
}

_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Running",
    "message": "the server is up",
    "lastTransitionTime": "2026-11-21T12:00:00Z",
    "observedGeneration": 1,
}
STATUSES: dict[str, dict[str, Any]] = {
    "DevServer": {
        "phase": "Running",
        "conditions": [_CONDITION],
        "timeline": [{"stage": "Accepted", "at": "2026-11-21T12:00:00Z"}],
        "endpoint": "mydev.dev-ann.svc:22",
        "sshHostKey": "ssh-ed25519 AAAA",
        "podName": "mydev-0",
        "ready": "1/2",
        "readyReplicas": 1,
        "replicas": 2,
        "expiresAt": "2026-11-21T14:30:00Z",
        "lastActivity": {"at": "2026-11-21T12:00:00Z", "source": "ssh"},
        "hold": {
            "until": "2026-11-21T20:00:00Z",
            "requestedUntil": "2026-11-22T20:00:00Z",
            "reason": "a long run",
            "since": "2026-11-21T12:00:00Z",
        },
        "plannedStop": {"at": "2026-11-21T14:30:00Z", "reason": "idle", "announcedAt": "2026-11-21T14:00:00Z"},
        "volumes": [
            {
                "path": "/home/dev",
                "claimName": "mydev-home",
                "usedBytes": 1024,
                "sizeBytes": 10737418240,
                "at": "2026-11-21T12:00:00Z",
            }
        ],
        "setup": [{"step": "dotfiles", "exitCode": 128, "seconds": 2}],
        "stopReason": "user",
        "lastStop": {
            "at": "2026-11-21T11:00:00Z",
            "reason": "outOfMemory",
            "message": "Killed.",
            "oomKills": 2,
            "starts": "2026-11-21T09:00:00Z ",
        },
        "observedGeneration": 1,
        "user": "ann",
    },
    "DevServerFlavor": {"conditions": [_CONDITION], "observedGeneration": 1},
    "DevServerUser": {
        "uid": 20000,
        "namespace": "dev-ann",
        "phase": "Active",
        "conditions": [_CONDITION],
        "observedGeneration": 1,
    },
}

_NAME = ("metadata", "name")
_PATH = ("spec", "volumes", 0, "mountPath")
_LIFE = ("spec", "lifecycle")
FAR_TIMES = ("9999-12-31T23:59:59-01:00", "2200-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00")
_ENV = ("spec", "env", 0, "name")
_SECRETS = ("spec", "secrets")
_SECRET = (*_SECRETS, 0)
_LIMITS = ("spec", "resources", "limits")
_REQUESTS = ("spec", "resources", "requests")


_BAD_SECRETS: list[tuple[Any, ...]] = [
    (_SECRET, {"name": "Hf", "env": "A"}, "not a secret's name; use lower-case letters, digits and dashes"),
    (_SECRET, {"name": "hf", "key": "a/b", "env": "A"}, "not a secret's key; use letters, digits and . _ -"),
    *((_SECRET, {"name": "hf", "file": text}, "not a file's name") for text in ("", "../x", "a/b", ".x", "a b")),
    (_SECRET, {"name": "hf", "env": "1A"}, "not a variable name"),
    (_SECRET, {"name": "hf", "env": "DEVSERVERS_X"}, "variables starting with DEVSERVERS_ are the platform's own"),
    *((_SECRET, {"name": "hf", "env": name}, "are the account's own and can't be set") for name in ("HOME", "USER")),
    (_SECRET, {"name": "hf"}, "a secret is either a variable or a file; give env or file"),
    (_SECRET, {"name": "hf", "env": "A", "file": "a"}, "a secret is either a variable or a file; give env or file"),
    (_SECRETS, [{"name": "a", "env": "A"}, {"name": "b", "env": "A"}], "two secrets have the same variable"),
    (_SECRETS, [{"name": "a", "file": "A"}, {"name": "b", "file": "A"}], "two secrets have the same file below /etc"),
    (_SECRETS, [{"name": "a", "env": f"A{number}"} for number in range(17)], "must have at most 16 items"),
]  # fmt: skip
"""References to secrets that no server and no user has."""


def _volumes(*paths: str) -> list[dict[str, str]]:
    return [{"claimName": f"claim-{number}", "mountPath": path} for number, path in enumerate(paths)]


def _env(count: int, size: int) -> list[dict[str, str]]:
    """Variables V0, V1, ..., each with a value of `size` bytes."""
    return [{"name": f"V{number}", "value": "a" * size} for number in range(count)]


def _life_refused(*defaults: str) -> list[tuple[tuple[str | int, ...], Any, str]]:
    """What the limits (and a flavor's defaults) of lifecycle and workingHours refuse."""
    hours = ("spec", "workingHours")
    usual = {"stopAt": "20:00", "timeZone": "Europe/Berlin"}
    limits = ("maxTimeToLive", "maxExtension", "maxIdleTimeout", "maxHold")
    return [
        *(((*_LIFE, field), "0s", "not a duration; use days, hours") for field in (*limits, *defaults)),
        *(
            (hours, {**usual, "stopAt": text}, "not a time of day; use one like 20:00")
            for text in ("", "24:00", "8:00", "20:60", "8pm")
        ),
        *(
            (hours, {**usual, "timeZone": text}, "not a time zone; use a name like Europe/Berlin or UTC")
            for text in ("", "+02:00", "../etc/passwd", "Europe/", "/UTC", "a b")
        ),
        *((hours, {**usual, "idleTimeout": text}, "not a duration; use days, hours") for text in ("", "0s", "soon")),
    ]


def _user(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"username": name}}


_SERVER_ACCEPTED: list[tuple[tuple[str | int, ...], Any]] = [
    *((_NAME, name) for name in ("ab", "a" * 36, "a-b", "a--1", "x0")),
    *(
        (("spec", "flavor"), name)
        for name in ("a", "p5.48xlarge", "a" * 63)
    ),
    *(
        (("spec", "image"), image)
        for image in (
            "debian",
            "debian:13-slim",
            "registry.example.com:5000/dev",
            "local/dev",
            "1234/x",
            "ghcr.io/a/b_c/d__e/f-g.h:V1.2_x-y",
            f"ghcr.io/team/image{DIGEST}",
            f"ghcr.io/team/image:v1{DIGEST}",
            "nvcr.io/nvidia/pytorch:24.10-py3",
            "Registry.Example.com:443/team/image",
            "a/" * 250 + "image:v1",
        )
    ),
    (("spec", "args"), []),
    (("spec", "env"), []),
    *((_ENV, name) for name in ("A", "_a1", "PATH", "TERM", "HOMES", "DEVSERVER", "MY_DEVSERVERS_X", "A" * 128)),
    *((("spec", "persistentHomeSize"), size) for size in ("1", "500m", "10Gi", "1.5Ti", "1e9", "100G")),
    *((("spec", "sharedVolumeClaimName"), name) for name in ("a", "team.data-1", "a" * 253)),
    *(
        (_PATH, path)
        for path in ("/a", "/data/", "/data/a b", "/home", "/home/dev/data", "/devices", "/etcd", "/opt/tools",
                     "/run/mine", "/data/..a", "/data/.cache", "/" + "a" * 511, "/opt/devserversx", "/shared/a")
    ),
    (("spec", "volumes"), _volumes("/a", "/a/b", "/b/", "/a-b")),
    (("spec", "volumes"), _volumes(*(f"/data/{n}" for n in range(16)))),
    (("spec", "volumes"), []),
    *(((*_LIFE, "timeToLive"), text) for text in ("1s", "90m", "1d", "1d2h3m4s", "99999d", "0h1s")),
    (_LIFE, {}),
    (("spec",), {"flavor": "x", "volumes": _volumes("/home/dev")}),
    (("spec",), {"flavor": "x", "volumes": _volumes("/shared")}),
    (("spec",), {"flavor": "x", "command": ["sleep", "infinity"]}),
    (("spec",), {"flavor": "x", "env": _env(1, 32768), "command": ["a" * 32766]}),
    (("spec",), {"flavor": "x", "env": _env(63, 1000)}),
]  # fmt: skip

_DISTRIBUTED = ("spec", "distributed")

_SERVER_REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    *((_NAME, name, "not a server name") for name in ("a", "a" * 41, "1a", "a.b", "a-")),
    *((_NAME, name, "Invalid value") for name in ("A", "a_b", "-a", "a b", "ä")),
    *((("spec", "owner"), name, "not a user name") for name in ("a", "Ann", "a.b", "", "1a", "ann-", "a\n")),
    *((("spec", "flavor"), name, "not a flavor name") for name in ("", "CPU", "cpu small", "-a", "a-", "cpu\n")),
    *(
        (("spec", "image"), image, "not an image reference")
        for image in ("", "UPPER", "team/Case", "a b", "a:", "a:b:c", "a//b", "/a", "a/", "a@sha256:12", "a:tag!",
                      "a:v1\n", "https://ghcr.io/a", "a$(id)", "a:" + "t" * 129)
    ),
    (("spec",), {"flavor": "x", "args": ["a"]}, "args need command; the image's own entrypoint is not used"),
    (("spec", "command"), [], "args need command; the image's own entrypoint is not used"),
    *((_ENV, name, "not a variable name") for name in ("", "1A", "A-B", "A=B", "A B", "Ä")),
    (_ENV, "DEVSERVERS_NAME", "variables starting with DEVSERVERS_ are the platform's own; use another name"),
    *((_ENV, name, "are the account's own and can't be set") for name in ("HOME", "USER", "LOGNAME", "SHELL")),
    (("spec", "mode"), "standalone", "distributed is only for mode distributed; remove it"),
    (("spec",), {"flavor": "x", "mode": "distributed"}, "mode distributed needs distributed.replicas, from 2 to 64"),
    (("spec", "enableSSH"), False, "mode distributed needs enableSSH; its replicas reach each other by it"),
    *(
        ((*_DISTRIBUTED, field), value, "worldSize is not replicas times nprocsPerNode; leave it out")
        for field, value in (("worldSize", 3), ("replicas", 3), ("nprocsPerNode", 2))
    ),
    *(
        ((*_DISTRIBUTED, "ncclSettings"), {name: "1"}, "ncclSettings has variables of NCCL only")
        for name in ("PATH", "nccl_debug", "NCCL", "XNCCL_DEBUG", "NCCL_A-B", "LD_PRELOAD")
    ),
    (_NAME, "a" * 37, "the name is too long for mode distributed; use at most 36 characters"),
    (_NAME, "my-replicas", "names that end in -replicas are those of distributed servers' Services; use another"),
    *(
        (("spec", "persistentHomeSize"), size, "persistentHomeSize is not a quantity above zero")
        for size in ("", "0", "0Gi", "-1Gi", "10GB", "ten", "1 Gi", "10gi", "Gi")
    ),
    *((("spec", "sharedVolumeClaimName"), name, "not a volume claim name") for name in ("", "A", "a_b", "a/b")),
    (("spec", "volumes", 0, "claimName"), "A", "not a volume claim name"),
    *(
        (_PATH, path, "mountPath is not an absolute path below /")
        for path in ("", "data", "./data", "/", "//", "/data//x", "/a:b", "/a\nb", "~/x")
    ),
    *(
        (_PATH, path, "mountPath has a . or .. part; write the path out")
        for path in ("/..", "/.", "/data/../etc", "/data/./x", "/data/..", "/data/../")
    ),
    *(
        (_PATH, path, "mountPath is the platform's own")
        for path in ("/proc", "/proc/", "/sys/fs", "/dev", "/dev/shm", "/etc", "/etc/ssh", "/opt/devservers",
                     "/opt/devservers/bin", "/run/devservers")
    ),
    *(
        (("spec", "volumes"), _volumes(*paths), "two volumes have the same mountPath; give each its own")
        for paths in (("/a", "/a"), ("/a", "/a/"), ("/b", "/a/", "/c", "/a"))
    ),
    *((_PATH, path, "/shared is where sharedVolumeClaimName goes") for path in ("/shared", "/shared/")),
    *(
        (_PATH, path, "/home/dev is where the home of persistentHomeSize goes")
        for path in ("/home/dev", "/home/dev/")
    ),
    *(
        ((*_LIFE, "timeToLive"), text, "not a duration; use days, hours, minutes and seconds")
        for text in ("", "0s", "0d0h", "1h1d", "1.5h", "2 h", "1w", "-1h", "1", "1h\n", "100000d")
    ),
    *(
        (("spec",), {"flavor": "x", **large}, "env, command and args together are more than 64 KiB; put the rest into")
        for large in (
            {"env": _env(1, 32768), "command": ["a" * 32768]},
            {"env": _env(42, 32000)},
            {"command": ["sh"], "args": ["a" * 1000] * 66},
            {"command": ["sh"], "args": ["ä" * 32768, "b"]},
        )
    ),
    *(((*_LIFE, "idleTimeout"), text, "not a duration; use days, hours") for text in ("", "0s", "60", "-1h")),
    *(
        ((*_LIFE, "gracePeriod"), text, "gracePeriod is too long; use at most 600s")
        for text in ("601s", "11m", "1h", "1d", "1d1s")
    ),
    *(((*_LIFE, "gracePeriod"), text, "not a duration; use days, hours") for text in ("", "0s", "1.5m", "-5s")),
    *(
        ((*_LIFE, field, "reason"), text, "not a reason; write one line of at most 200 characters")
        for field in ("override", "hold")
        for text in ("", " ", "two\nlines", "bell\x07")
    ),
    *(
        (place, text, "not a time from 1970 to 2199; use one like")
        for place in ((*_LIFE, "expirationTime"), (*_LIFE, "extendUntil"), (*_LIFE, "hold", "until"))
        for text in FAR_TIMES
    ),
    *_BAD_SECRETS,
]  # fmt: skip

_FLAVOR_ACCEPTED: list[tuple[tuple[str | int, ...], Any]] = [
    (_NAME, "a" * 63),
    *(((*_LIMITS, "cpu"), amount) for amount in ("500m", "0.5", 1, "2e3", "8")),
    (_REQUESTS, {"ephemeral-storage": 0}),
    (_REQUESTS, {"hugepages-2Mi": "4Mi"}),
    (("spec", "resources"), {"limits": {"nvidia.com/gpu": 8}}),
    *((("spec", "shmSize"), size) for size in ("64Mi", 1073741824)),
]
_FLAVOR_REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    (_NAME, "a" * 64, "the name is too long; use at most 63 characters"),
    *(
        ((*place, "memory"), amount, "a resource is not a quantity of zero or more")
        for place in (_REQUESTS, _LIMITS)
        for amount in ("", "much", "1 Gi", "2GB", "-1", -1)
    ),
    *(
        ((*_LIMITS, "cpu"), amount, "requests are above limits; lower the request or raise the limit")
        for amount in (0, "499m", "0.4")
    ),
    *(
        ((*_REQUESTS, "nvidia.com/gpu"), amount, "devices such as nvidia.com/gpu need the same amount in")
        for amount in (0, "0")
    ),
    (_LIMITS, {"cpu": 2}, "devices such as nvidia.com/gpu need the same amount in requests and limits"),
    (("spec", "resources"), {"requests": {"nvidia.com/gpu": 1}}, "devices such as nvidia.com/gpu need the same"),
    *((("spec", "shmSize"), size, "shmSize is not a quantity above zero") for size in ("", "0", 0, "-1Gi", "lots")),
    *((("spec", "queue"), name, "not a queue name") for name in ("", "A", "a b")),
    *((("spec", "image"), image, "not an image reference") for image in ("", "Ubuntu", "a b")),
    *_life_refused("idleTimeout", "timeToLive"),
]

_USER_ACCEPTED: list[tuple[tuple[str | int, ...], Any]] = [
    (("spec", "email"), "a+b@x"),
    *(
        (("spec", "sshPublicKeys", 0), key)
        for key in (
            KEY.rsplit(" ", 1)[0],
            "ssh-rsa AAAAB3NzaC1yc2E= me on my laptop",
            "sk-ssh-ed25519@openssh.com AAAAGnNr",
            "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNr key",
            "ecdsa-sha2-nistp521 AAAAE2Vj",
        )
    ),
    (("spec", "sshPublicKeys"), []),
    *((("spec", "sshKeys", 0, "name"), name) for name in ("a", "0", "ann@laptop", "Work_Mac.2", "a" * 64)),
    (("spec", "sshKeys"), [{"name": "one", "key": KEY}, {"name": "two", "key": KEY}]),
    (("spec", "sshKeys", 0, "key"), "sk-ssh-ed25519@openssh.com AAAAGnNr on a token"),
    (("spec", "flavors"), []),
    (("spec", "flavors"), ["*"]),
    *((("spec", "quota", "cpu"), amount) for amount in (0, 4, "500m")),
    *((("spec", "quota", "storage"), amount) for amount in (0, "2Ti", "500G")),
    *((("spec", "dotfiles"), url) for url in GIT_URLS),
    (("spec", "sshPublicKeys", 0), KEY.replace("ann@laptop", "Änn's Läptop, 2026")),
    (("spec", "env"), _env(2, 32760)),
]
_USER_REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    *((_NAME, name, "not a user name") for name in ("a", "a" * 32, "1a", "a.b")),
    *(
        ((), {"apiVersion": API_VERSION, "kind": "DevServerUser", **_user(name)}, "this user name is reserved")
        for name in ("root", "admin", "sshd", "kube-system", "nobody", "dev")
    ),
    (_NAME, "bob", "spec.username differs from metadata.name; give both the same value"),
    *_BAD_SECRETS,
    (("spec", "username"), "bob", "spec.username differs from metadata.name; give both the same value"),
    (("spec", "username"), "A", "not a user name"),
    *((("spec", "email"), text, "not an e-mail address") for text in ("", "ann", "a@b@c", "a b@c", "@x", "a@")),
    *(
        (("spec", "sshPublicKeys", 0), key, "not an OpenSSH public key")
        for key in ("", "ssh-dss AAAA", "AAAAC3Nz", f'from="10.0.0.1" {KEY}', f"{KEY}\n{KEY_2}", "ssh-ed25519 xyz",
                    "-----BEGIN OPENSSH PRIVATE KEY-----", f" {KEY}")
    ),
    *(
        (("spec", "sshKeys", 0, "name"), name, "not a name for a key")
        for name in ("", "-a", "my laptop", "a/b", "ä", "a\n", "../a", 'a"b')
    ),
    *((("spec", "sshKeys", 0, "expires"), text, "not a time from 1970 to 2199") for text in FAR_TIMES),
    *((("spec", "sshKeys", 0, "key"), key, "not an OpenSSH public key") for key in ("", "x", f"{KEY}\n{KEY_2}")),
    *((("spec", "flavors", 0), name, "not a flavor name") for name in ("", "CPU", "cpu-*", "a,b")),
    *((("spec", "quota", "cpu"), text, "quota.cpu is not a quantity of zero or more") for text in ("x", "-1", -1)),
    *((("spec", "quota", "memory"), text, "quota.memory is not a quantity of zero or more") for text in ("8GB", -1)),
    *((("spec", "quota", "storage"), text, "quota.storage is not a quantity of zero or more") for text in ("8GB", -1)),
    *((("spec", "dotfiles"), url, "not a git URL") for url in NO_GIT_URLS),
    *((("spec", "dotfiles"), url, "not a git URL that servers clone") for url in GIT_URLS_NOT_CLONED),
    *((("spec", "timeZone"), text, "not a time zone") for text in ("", "+1", "Europe/", "Europe/Ber lin")),
    *((("spec", "budget"), amount, "budget is not available yet; leave it out") for amount in (0, 250)),
    *(
        (place, KEY.replace("laptop", f"a{character}b"), "the key's comment has a control character; give the key")
        for place in (("spec", "sshPublicKeys", 0), ("spec", "sshKeys", 0, "key"))
        for character in ("\x1b[31m", "\x07", "\t", "\x7f", "\x9b")
    ),
    *_life_refused(),
    (("spec", "env"), _env(3, 32000), "env is more than 64 KiB; put the rest into a file in the home"),
    (("spec", "env", 0, "name"), "1", "not a variable name"),
    (("spec", "env", 0, "name"), "DEVSERVERS_X", "variables starting with DEVSERVERS_ are the platform's own"),
    (("spec", "env", 0, "name"), "HOME", "are the account's own and can't be set"),
]  # fmt: skip

ACCEPTED = [
    (kind, *row)
    for kind, rows in (
        ("DevServer", _SERVER_ACCEPTED), ("DevServerFlavor", _FLAVOR_ACCEPTED), ("DevServerUser", _USER_ACCEPTED),
    )
    for row in rows
]  # fmt: skip
REFUSED = [
    (kind, *row)
    for kind, rows in (
        ("DevServer", _SERVER_REFUSED), ("DevServerFlavor", _FLAVOR_REFUSED), ("DevServerUser", _USER_REFUSED),
    )
    for row in rows
]  # fmt: skip
