"""Tests `devctl setup`, the default of `devctl user set`, and how `describe` shows the result."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

NAMESPACE = "/api/v1/namespaces/dev-ann"
OWN = f"{NAMESPACE}/configmaps/setup"
DEFAULT = f"{NAMESPACE}/configmaps/setup-default"
URL = "https://example.org/ann/dotfiles"
TEAM = "https://example.org/team/dotfiles"


class _Pipe(io.StringIO):
    """Standard input that is no terminal."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.buffer = io.BytesIO(data)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def config_maps(api: ApiServer) -> None:
    """What the operator makes."""
    api.put(OWN)
    api.put(DEFAULT)


def own(api: ApiServer) -> dict[str, str]:
    return dict(api.objects[OWN].get("data") or {})


def test_setup_set_writes_the_entries_that_the_agent_reads(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text("#!/bin/sh\necho ä\n")
    said = devctl("setup", "set", "--dotfiles", URL, "--branch", "main", "--script", str(script)).stderr
    assert own(api) == {"dotfiles": URL, "dotfiles-branch": "main", "script": "#!/bin/sh\necho ä\n"}
    assert "from their next start" in said
    assert "~/.local/state/devserver/setup.log" in said


def test_setup_set_changes_what_is_given_only(api: ApiServer, devctl: Run) -> None:
    api.objects[OWN]["data"] = {"dotfiles": URL, "dotfiles-branch": "main", "script": "a"}
    devctl("setup", "set", "--branch", "next")
    assert own(api) == {"dotfiles": URL, "dotfiles-branch": "next", "script": "a"}
    devctl("setup", "set", "--dotfiles", TEAM)
    assert own(api) == {"dotfiles": TEAM, "script": "a"}, "the branch was the other repository's"
    devctl("setup", "set", "--script", "")
    assert own(api) == {"dotfiles": TEAM}
    devctl("setup", "set", "--dotfiles", "none")
    assert own(api) == {"dotfiles": ""}
    devctl("setup", "set", "--dotfiles", "")
    assert own(api) == {}


def test_setup_set_script_from_standard_input(
    api: ApiServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", _Pipe(b"echo hi\n"))
    done = run("setup", "set", "--script", "-", KUBECONFIG=str(api.kubeconfig(tmp_path)), DEVCTL_USER="ann")
    assert done.returncode == 0, done.stderr
    assert own(api) == {"script": "echo hi\n"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "nothing to set is given"),
        (["--dotfiles", "file:///etc"], 6, "is not a git URL"),
        (["--dotfiles", "git://example.org/a"], 6, "is not a git URL"),
        (["--dotfiles", "-oProxyCommand=x@h:a"], 6, "is not a git URL"),
        (["--dotfiles", "https://ann:s3cret@example.org/a"], 6, "has a user or a token"),
        (["--dotfiles", URL, "--branch", "--upload-pack=x"], 6, "is not a branch"),
        (["--branch", "main"], 6, "--branch is of a repository of yours"),
        (["--dotfiles", "none", "--branch", "main"], 6, "--branch is of a repository of yours"),
        (["--script", "/nowhere"], 2, "/nowhere cannot be read"),
        (["--script", "{tmp}/empty"], 2, "the script is empty"),
        (["--script", "{tmp}/binary"], 6, "not a text in UTF-8"),
        (["--script", "{tmp}/nul"], 6, "not a text in UTF-8"),
        (["--script", "{tmp}/large"], 6, "more than 32 KiB"),
    ],
)
def test_setup_set_bad_input_writes_nothing(
    api: ApiServer, devctl: Run, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    for name, data in {"empty": b" \n", "binary": b"\xff\xfe", "nul": b"a\0b", "large": b"x" * 32769}.items():
        (tmp_path / name).write_bytes(data)
    done = devctl("setup", "set", *(word.format(tmp=tmp_path) for word in words), code=code)
    assert says in done.stderr
    assert "s3cret" not in done.stderr
    assert api.writes == []


def test_setup_set_before_the_operator_made_it_says_so(api: ApiServer, devctl: Run) -> None:
    del api.objects[OWN]
    assert "dev-ann is not ready for a set-up" in devctl("setup", "set", "--dotfiles", URL, code=1).stderr


def test_setup_show_tells_whose_dotfiles_hold(api: ApiServer, devctl: Run) -> None:
    assert "you have no set-up" in devctl("setup", "show").stderr
    api.objects[DEFAULT]["data"] = {"dotfiles": TEAM}
    shown = devctl("setup", "show").stdout
    assert f"Dotfiles: {TEAM} (from your administrator; `devctl setup set --dotfiles none`" in shown
    api.objects[OWN]["data"] = {"dotfiles": URL, "dotfiles-branch": "main", "script": "echo \x1b[31mred\n"}
    shown = devctl("setup", "show").stdout
    assert f"Dotfiles: {URL}, branch main\nScript:   14 bytes\n  echo " in shown
    assert "\x1b" not in shown
    assert json.loads(devctl("setup", "show", "-o", "json").stdout) == {
        "dotfiles": URL, "dotfilesFrom": "user", "branch": "main", "script": "echo \x1b[31mred\n",
        "secrets": [], "secretsFromAdministrator": [],
    }  # fmt: skip
    api.objects[OWN]["data"] = {"dotfiles": "", "script": "a"}
    assert "Dotfiles: none\n" in devctl("setup", "show").stdout


def test_setup_show_without_the_default_of_an_older_operator(api: ApiServer, devctl: Run) -> None:
    del api.objects[DEFAULT]
    api.objects[OWN]["data"] = {"dotfiles": URL}
    assert devctl("setup", "show").stdout == f"Dotfiles: {URL}\nScript:   none\n"


def test_setup_clear_removes_the_users_own(api: ApiServer, devctl: Run) -> None:
    assert "you have no set-up; nothing was changed" in devctl("setup", "clear").stderr
    api.objects[DEFAULT]["data"] = {"dotfiles": TEAM}
    api.objects[OWN]["data"] = {"dotfiles": URL, "script": "a"}
    devctl("setup", "clear", typed="n\n", code=1)
    assert own(api) == {"dotfiles": URL, "script": "a"}
    assert f"your administrator's dotfiles ({TEAM}) hold again" in devctl("setup", "clear", "--yes").stderr
    assert own(api) == {}
    assert api.objects[DEFAULT]["data"] == {"dotfiles": TEAM}


def test_setup_set_secrets_are_lines_of_references(api: ApiServer, devctl: Run) -> None:
    said = devctl("setup", "set", "--secret", "HF_TOKEN=hf", "--secret-file", "id=deploy/key").stderr
    assert own(api) == {"secrets": "env HF_TOKEN hf value\nfile id deploy key"}
    assert "from their next start (`devctl restart NAME`); `devctl setup show` shows all" in said
    devctl("setup", "set", "--secret", "HF_TOKEN=other", "--script", "")
    assert own(api) == {"secrets": "env HF_TOKEN other value\nfile id deploy key"}
    devctl("setup", "set", "--unset-secret", "HF_TOKEN", "--unset-secret", "id")
    assert own(api) == {}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--secret", "HF_TOKEN"], 6, "a --secret doesn't name a secret"),
        (["--secret", "HOME=hf"], 6, "--secret HOME can't be set"),
        (["--unset-secret", "ABSENT"], 6, "your set-up has no secret as 'ABSENT' of its own"),
        (["--unset-secret", "THEIRS"], 6, "it is your administrator's; ask them"),
        (["--unset-secret", "A", "--secret", "A=hf"], 2, "A is set and removed at once"),
    ],
)
def test_setup_set_bad_secrets_write_nothing(
    api: ApiServer, devctl: Run, words: list[str], code: int, says: str
) -> None:
    api.objects[OWN]["data"] = {"secrets": "env A hf value"}
    api.objects[DEFAULT]["data"] = {"secrets": "env THEIRS team value"}
    assert says in devctl("setup", "set", *words, code=code).stderr
    assert api.writes == []


def test_setup_set_warns_of_secrets_that_do_not_exist(
    api: ApiServer, devctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devctl.resources.people.server_secrets.INDEX_SECONDS", 0.0)
    index = f"{NAMESPACE}/configmaps/secrets"
    api.refusals[("GET", index)] = [(403, "no")]
    assert "warning" not in devctl("setup", "set", "--secret", "A=hf").stderr, "the index can't be read"
    api.refusals.clear()
    entry = json.dumps({"keys": ["id"], "since": "2026-01-01T00:00:00Z"})
    api.put(index, data={"user-secret-aws": entry})
    said = devctl("setup", "set", "--secret", "A=aws/id", "--secret", "B=hf", "--secret", "C=aws/key").stderr
    assert own(api) == {"secrets": "env A aws id\nenv B hf value\nenv C aws key"}
    assert [line for line in said.splitlines() if line.startswith("warning")] == [
        "warning: you have no secret hf yet: each start of your servers waits for it; `devctl secret set hf` makes it",
        "warning: your secret aws has no key key (its keys: id): each start of your servers waits for it",
    ]
    assert "warning" not in devctl("setup", "set", "--unset-secret", "B").stderr


def test_setup_set_right_after_the_secret_waits_for_the_index(api: ApiServer, devctl: Run) -> None:
    """The operator's index is a second or two behind."""
    index = f"{NAMESPACE}/configmaps/secrets"
    entry = json.dumps({"keys": ["value"], "since": "2026-01-01T00:00:00Z"})
    api.put(index)
    api.before[("GET", index)] = [lambda: None, lambda: api.put(index, data={"user-secret-hf": entry})]
    assert "warning" not in devctl("setup", "set", "--secret", "HF=hf").stderr
    assert api.before[("GET", index)] == []


def test_setup_clear_says_that_the_administrators_secrets_hold_again(api: ApiServer, devctl: Run) -> None:
    api.objects[DEFAULT]["data"] = {"secrets": "env TEAM team token"}
    api.objects[OWN]["data"] = {"secrets": "env TEAM hf value"}
    assert "your administrator's secrets hold again" in devctl("setup", "clear").stderr


def test_setup_show_and_describe_show_references_and_whose_they_are(api: ApiServer, devctl: Run) -> None:
    api.objects[OWN]["data"] = {"secrets": "env HF_TOKEN hf value\nfile id deploy key"}
    api.objects[DEFAULT]["data"] = {"secrets": "env HF_TOKEN team value\nenv TEAM team token\nenv PLAIN team value"}
    assert devctl("setup", "show").stdout.splitlines() == [
        "Dotfiles: none",
        "Secret:   HF_TOKEN from hf",
        "Secret:   /etc/devservers/secrets/id from deploy/key",
        "Secret:   TEAM from team/token (from your administrator)",
        "Secret:   PLAIN from team (from your administrator)",
        "Script:   none",
    ]
    shown = json.loads(devctl("setup", "show", "-o", "json").stdout)
    assert shown["secrets"][0] == {"name": "hf", "key": "value", "env": "HF_TOKEN"}
    assert [each["env"] for each in shown["secretsFromAdministrator"]] == ["HF_TOKEN", "TEAM", "PLAIN"]
    spec = {"flavor": "cpu-small", "env": [{"name": "PLAIN", "value": "x"}], "secrets": [{"name": "a", "file": "id"}]}
    api.put("/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev", spec=spec, status={"phase": "Running"})
    lines = [line for line in devctl("describe", "mydev").stdout.splitlines() if line.startswith("Secret:")]
    assert lines == [
        "Secret:       /etc/devservers/secrets/id from a",
        "Secret:       HF_TOKEN from hf (of your set-up, as of its next start)",
        "Secret:       TEAM from team/token (of your set-up, as of its next start)",
    ]


def test_user_set_dotfiles_is_the_default_and_checked(api: ApiServer, devctl: Run) -> None:
    path = "/apis/devservers.io/v1/devserverusers/bob"
    api.put(path, spec={"username": "bob"})
    devctl("user", "set", "bob", "--dotfiles", TEAM)
    assert api.objects[path]["spec"]["dotfiles"] == TEAM
    assert "is not a git URL" in devctl("user", "set", "bob", "--dotfiles", "https://a:b@c/d", code=6).stderr
    devctl("user", "set", "bob", "--unset", "dotfiles")
    assert "dotfiles" not in api.objects[path]["spec"]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([], None),
        ([("dotfiles", 0, 2), ("script", 0, 1)], "Set-up:       dotfiles done in 2s, script done in 1s\n"),
        (
            [("dotfiles", 0, 2), ("script", 3, 1)],
            "dotfiles done in 2s, script failed with exit code 3 after 1s; "
            "why is in ~/.local/state/devserver/setup.log of the server\n",
        ),
        ([("script", 124, 600)], "script was ended after 600s: it took too long; why is in ~/.local"),
        ([("dotfiles", 126, 0)], "dotfiles could not be started; why is in ~/.local"),
    ],
)
def test_describe_shows_the_steps_and_where_the_log_of_a_failure_is(
    api: ApiServer, devctl: Run, steps: list[tuple[str, int, int]], shown: str | None
) -> None:
    setup: list[dict[str, Any]] = [{"step": step, "exitCode": code, "seconds": took} for step, code, took in steps]
    server = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
    api.put(server, spec={"flavor": "cpu-small"}, status={"phase": "Running", "setup": setup})
    said = devctl("describe", "mydev").stdout
    assert shown in said if shown else "Set-up" not in said
