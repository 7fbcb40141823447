"""Tests `devctl user import`: a file is checked whole before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

USERS = "/apis/devservers.io/v1/devserverusers"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
CSV = f"""name,email,flavors,gpus,keys
# people of the lab
ann,ann@example.org,"cpu-small,*",4,{KEY} ann@laptop

bob,,,,
"""
YAML = f"""users:
- name: ann
  email: ann@example.org
  flavors: [cpu-small, '*']
  gpus: 4
  keys: [{KEY} ann@laptop]
- name: bob
"""


def write(folder: Path, text: str, name: str = "people.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def real_writes(api: ApiServer) -> list[str]:
    """Methods of the writes that were no dry run."""
    return [write[0] for write, query in zip(api.writes, api.queries, strict=True) if "dryRun" not in query]


def put_user(api: ApiServer, name: str, **spec: Any) -> None:
    api.put(f"{USERS}/{name}", spec={"username": name, **spec})


@pytest.mark.parametrize(("name", "text"), [("people.csv", CSV), ("people.yaml", YAML)])
def test_import_adds_and_changes_users(api: ApiServer, devctl: Run, tmp_path: Path, name: str, text: str) -> None:
    put_user(api, "bob", email="b@example.org")
    done = devctl("user", "import", write(tmp_path, text, name), "--yes")
    spec = dict(api.objects[f"{USERS}/ann"]["spec"])
    (key,) = spec.pop("sshKeys")
    assert spec == {
        "username": "ann", "managedBy": "command", "email": "ann@example.org", "flavors": ["cpu-small", "*"],
        "quota": {"gpu": 4},
    }  # fmt: skip
    assert key["name"] == "ann@laptop"
    assert api.objects[f"{USERS}/bob"]["spec"] == {"username": "bob", "email": "b@example.org"}
    assert "1 added, 0 changed, 1 were so already, 0 failed" in done.stderr
    assert "new: flavors cpu-small,*, gpus 4, email ann@example.org, 1 keys" in done.stdout
    again = devctl("user", "import", write(tmp_path, text, name), "--yes")
    assert "0 users would change, 2 are so already" in again.stderr


def test_import_checks_every_change_at_the_api_server_first(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    put_user(api, "bob")
    api.refuse("PATCH", f"{USERS}/bob", (422, "spec.email: too odd; use another"))
    file = write(tmp_path, "name,email\nann,a@example.org\nbob,b@example.org\n")
    said = devctl("user", "import", file, "--yes", code=6).stderr
    assert "people.csv, line 3: " in said
    assert "a line of people.csv can't be imported, so nothing was changed" in said
    assert real_writes(api) == []


def test_import_dry_run_shows_the_changes_and_writes_nothing(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    put_user(api, "bob", quota={"gpu": 1})
    done = devctl("user", "import", write(tmp_path, "name,gpus\nbob,2\n"), "--dry-run")
    assert "gpus 1 -> 2" in done.stdout
    assert "1 users would change, 0 are so already; nothing was changed" in done.stderr
    assert real_writes(api) == []


def test_import_without_an_answer_changes_nothing(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    file = write(tmp_path, "name\nann\n")
    assert "add --yes" in devctl("user", "import", file, code=2).stderr
    assert "nothing was changed" in devctl("user", "import", file, typed="n\n", code=1).stderr
    assert real_writes(api) == []
    devctl("user", "import", file, typed="y\n")
    assert real_writes(api) == ["POST"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.csv", "name,gpus\nann,1\nbob,many\n", "line 3: gpus: 'many' is not a number"),
        ("p.csv", "name,gpus\nann,1\n\nann,2\n", "line 4: ann is in line 2 already"),
        ("p.csv", "name,gpus\nann,1,2\n", "line 2: this line has 3 cells and the header 2"),
        ("p.csv", 'name,email\n"ann\n",x\n', "line 2: email: 'x' is not an e-mail address"),
        ("p.csv", "name,gpus\n,1\n", "line 2: '' is not a user name"),
        ("p.csv", "name\nroot\n", "line 2: the user name 'root' is reserved"),
        ("p.csv", "name,gpu\nann,1\n", "line 1: there is no column 'gpu'"),
        ("p.csv", "email\nx\n", "line 1: the header needs each column once, and name"),
        ("p.csv", 'name\n"ann\n', "unexpected end of data"),
        ("p.csv", "", "the file has no header"),
        ("p.csv", "name\n", "has no users"),
        ("p.csv", "name,keys\nann,ssh-ed25519 xyz\n", "line 2: this"),
        ("p.yaml", "- name: ann\n- name: bob\n  gpus: many\n", "line 2: gpus: 'many' is not a number"),
        ("p.yaml", "- name: ann\n- gpus: 1\n", "line 2: the user has no name"),
        ("p.yaml", "- name: ann\n  gpu: 1\n", "line 1: there is no field 'gpu'"),
        ("p.yaml", "- name: ann\n  gpus: [1]\n", "line 1: gpus is not one value"),
        ("p.yaml", "- ann\n", "line 1: this is not a user"),
        ("p.yaml", "name: ann\n", "the file is not a list of users"),
        ("p.yaml", "- name: [\n", "line 2: "),
        ("p.yaml", "- name: !!python/object:os.system x\n", "line 1: "),
        ("p.yaml", "", "the file is not a list of users"),
        ("p.csv", "name,flavors\nann,cpu-smal\n", "did you mean cpu-small?"),
    ],
)  # fmt: skip
def test_import_bad_file_names_the_line_and_changes_nothing(
    api: ApiServer, devctl: Run, tmp_path: Path, name: str, text: str, says: str
) -> None:
    assert says in devctl("user", "import", write(tmp_path, text, name), "--yes", code=6).stderr
    assert api.writes == []


def test_import_unreadable_file_is_a_usage_error(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    assert "cannot be read" in devctl("user", "import", str(tmp_path / "none.csv"), code=2).stderr
    (tmp_path / "p.csv").write_bytes(b"name\n\xff\n")
    assert "it is not text" in devctl("user", "import", str(tmp_path / "p.csv"), code=2).stderr
    assert "larger than 1 MiB" in devctl("user", "import", write(tmp_path, "x" * 2**21), code=6).stderr


def test_import_user_of_a_stack_is_refused_unless_nothing_changes(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    put_user(api, "ann", managedBy="stack", quota={"gpu": 1})
    said = devctl("user", "import", write(tmp_path, "name,gpus\nbob,1\nann,2\n"), "--yes", code=6).stderr
    assert "line 3: ann is managed by a stack; devctl doesn't change them" in said
    assert real_writes(api) == []
    devctl("user", "import", write(tmp_path, "name,gpus\nbob,1\nann,1\n"), "--yes")
    assert real_writes(api) == ["POST"]


def test_import_failure_in_between_goes_on_and_is_named(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    """Somebody adds ann between the check and the write."""
    api.refuse("POST", USERS, (200, ""), (200, ""), (409, "ann exists"), (200, ""))
    done = devctl("user", "import", write(tmp_path, "name\nann\nbob\n"), "--yes", code=1)
    assert "line 2, ann: " in done.stderr
    assert "1 added, 0 changed, 0 were so already, 1 failed" in done.stderr
    assert "1 users were not changed, the first is ann in line 2" in done.stderr
    assert f"{USERS}/bob" in api.objects
