"""The program as a person starts it: a process, its streams and its exit code. No cluster here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devctl import app, commands

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def spawn(home: Path, *words: str, **env: str) -> Done:
    """devctl as a process of its own."""
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "USER": "ann", **env}
    command = [sys.executable, "-m", "devctl", *words]
    return subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """devctl's main() in this process, which saves half a second each time."""
    for name in [n for n in os.environ if n.startswith(("DEVCTL_", "XDG_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "ann")

    def call(*words: str, **env: str) -> Done:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["devctl", *words])
        with pytest.raises(SystemExit) as caught:
            app.main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(caught.value.code or 0), out, err)

    return call


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = spawn(tmp_path, "--help")
    assert done.returncode == 0
    for name, entry in commands.COMMANDS.items():
        assert name in done.stdout and entry.summary in done.stdout


@pytest.mark.parametrize("name", [*sorted(commands.COMMANDS.keys() - commands.GROUPS.keys()), *commands.PARTS])
def test_each_command_explains_itself(run: Run, name: str) -> None:
    done = run(*name.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "--kubeconfig" in done.stdout and "\x1b" not in done.stdout


@pytest.mark.parametrize("name", list(commands.GROUPS))
def test_a_group_lists_what_is_in_it(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0 and commands.COMMANDS[name].summary in done.stdout
    assert all(part in done.stdout for part in commands.GROUPS[name])
    assert all(part in commands.COMMANDS[name].summary for part in commands.GROUPS[name])
    wrong = run(name, "dance")
    assert wrong.returncode == 2 and f"devctl {name} has no 'dance'" in wrong.stderr


def test_no_command_is_a_usage_error(run: Run) -> None:
    assert run().returncode == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["lst"], 2, "did you mean list"),
        (["list", "--foo"], 2, "devctl list --help"),
        (["describe"], 2, "devctl describe --help"),
        (["list", "-o", "xml"], 2, "json"),
        (["create"], 2, "NAME"),
        (["create", "x" * 41], 6, "41 characters"),
        (["create", "My_Dev"], 6, "my-dev"),
        (["create", "mydev", "--home-size", "ten"], 6, "10Gi"),
        (["create", "mydev", "-v", "data:data"], 6, "not absolute"),
        (["create", "mydev", "-v", "a:/x", "-v", "b:/x"], 6, "used twice"),
        (["create", "mydev", "--ttl", "soon"], 6, "2h30m"),
        (["create", "mydev", "--image", "A B"], 6, "image reference"),
        (["create", "mydev", "--env", "A"], 6, "A=VALUE"),
        (["create", "mydev", "--ephemeral", "--home-size", "1Gi"], 2, "give one of them"),
        (["create", "mydev", "--home-size", "1Gi", "-v", "a:/home/dev"], 6, "used twice"),
        (["create", "mydev", "cpu-small", "--name", "other"], 2, "two names"),
        (["create", "mydev", "--wait", "9x"], 6, "duration"),
        (["stop", "mydev", "--wait", "9x"], 6, "duration"),
        (["list"], 2, "make up"),
        (["exec", "mydev"], 2, "-- COMMAND"),
    ],
)
def test_a_mistake_costs_two_lines_and_a_code(run: Run, words: list[str], code: int, says: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr


def test_a_broken_config_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "devctl" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("user: ann\nflavour: x\n")
    done = spawn(tmp_path, "list")
    assert done.returncode == 2
    assert f"{path} line 2: unknown key 'flavour'" in done.stderr and "flavor" in done.stderr.splitlines()[1]


def test_a_cluster_that_is_away_is_told_in_two_lines_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        "current-context: c\nclusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
    )
    done = spawn(tmp_path, "list", KUBECONFIG=str(config))
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in spawn(tmp_path, "list", "--debug", KUBECONFIG=str(config)).stderr


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["create", "a1", "--wait"], (["create", "a1", "--wait=10m"], None)),
        (["create", "a1", "--wait", "5m", "cpu"], (["create", "a1", "--wait=5m", "cpu"], None)),
        (["create", "--wait", "a1"], (["create", "--wait=10m", "a1"], None)),
        (["create", "a1", "--", "sh", "--wait"], (["create", "a1"], ["sh", "--wait"])),
        (["exec", "a1", "--", "a", "--", "b"], (["exec", "a1"], ["a", "--", "b"])),
        (["ssh", "a1", "--", "ls"], (["ssh", "a1", "--", "ls"], None)),
    ],
)
def test_words_after_two_dashes_and_a_bare_wait(args: list[str], expected: object) -> None:
    assert app.prepare(args) == expected


def test_the_overview_imports_neither_typer_nor_yaml_nor_rich(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv=['devctl','--help']\nfrom devctl import app\ntry: app.main()\nexcept SystemExit: pass\n"
    )
    code += "print([m for m in ('typer','yaml','rich','ssl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_the_commands(tmp_path: Path, shell: str) -> None:
    words = {"COMP_WORDS": "devctl de", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "devctl de"}
    done = spawn(tmp_path, _DEVCTL_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args", **words)
    assert "describe" in done.stdout and "delete" in done.stdout, done.stderr
