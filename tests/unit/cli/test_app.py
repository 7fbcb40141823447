"""Tests devctl as a process: its streams, its usage errors and its exit codes, without a cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devctl import command_line, command_table
from tests.support.cli.run import Done, Run


def spawn(home: Path, *words: str, **env: str) -> Done:
    """Runs devctl as a process of its own."""
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "USER": "ann", **env}
    command = [sys.executable, "-m", "devctl", *words]
    return subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_overview_lists_every_command(tmp_path: Path) -> None:
    done = spawn(tmp_path, "--help")
    assert done.returncode == 0
    for name, entry in command_table.COMMANDS.items():
        assert name in done.stdout
        assert entry.summary in done.stdout


@pytest.mark.parametrize(
    "name", [*sorted(command_table.COMMANDS.keys() - command_table.GROUPS.keys()), *command_table.SUBCOMMANDS]
)
def test_help_of_each_command_names_its_usage(run: Run, name: str) -> None:
    done = run(*name.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    # Metavars are words in capitals, and what all commands share stands in one line.
    assert not re.search(r"[{}]|<(str|int|float)", done.stdout), done.stdout
    assert done.stdout.count("--kubeconfig") == (command_table.SUBCOMMANDS | command_table.COMMANDS)[name].needs_cluster


@pytest.mark.parametrize("name", [*command_table.GROUPS, *command_table.SUBGROUPS])
def test_help_of_each_group_lists_its_subcommands(run: Run, name: str) -> None:
    done = run(*name.split(), "--help")
    assert done.returncode == 0
    summary = command_table.SUBGROUPS.get(name) or command_table.COMMANDS[name].summary
    assert summary in done.stdout
    parts = dict.fromkeys(
        entry[len(name) :].split()[0] for entry in command_table.SUBCOMMANDS if entry.startswith(f"{name} ")
    )
    assert all(part in done.stdout for part in parts)
    assert all(part in summary for part in parts)
    wrong = run(*name.split(), "dance")
    assert wrong.returncode == 2
    assert f"devctl {name} has no 'dance'" in wrong.stderr
    assert f"it has: {', '.join(parts)}\n" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["help"], ["--help"]),
        (["help", "create"], ["create", "--help"]),
        (["help", "keys", "add"], ["keys", "add", "--help"]),
        (["keys", "help"], ["keys", "--help"]),
    ],
)
def test_help_as_a_command_prints_the_same(run: Run, words: list[str], same: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 0
    assert done.stdout == run(*same).stdout


def test_overview_lines_fit_80_columns() -> None:
    assert max(map(len, command_table.overview().splitlines())) <= 80


def test_synonyms_and_alternatives_lead_to_commands() -> None:
    assert set(command_table.SYNONYMS.values()) <= command_table.COMMANDS.keys()
    assert not (command_table.SYNONYMS.keys() | command_table.ALTERNATIVES.keys()) & command_table.COMMANDS.keys()


def test_devctl_without_command_is_a_usage_error(run: Run) -> None:
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
        (["ls"], 2, "did you mean list?"),
        (["rm", "mydev"], 2, "did you mean delete?"),
        (["top"], 2, "devctl ssh NAME top"),
        (["volumes", "list"], 2, "did you mean volume?"),
        (["lisst"], 2, "did you mean list?"),
        (["keys", "rm", "x"], 2, "did you mean `devctl keys remove`?"),
        (["user", "lst"], 2, "did you mean `devctl user list`?"),
    ],
)
def test_devctl_wrong_usage_prints_two_lines_and_exits_with_code(
    run: Run, words: list[str], code: int, says: str
) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("homeSize", "10Gx", "10Gi"),
        ("homeSize", "10", "unit"),
        ("user", "Jane.Doe@example.org", "jane-doe"),
        ("output", "tabel", "table"),
        ("image", "Debian:12", "debian:12"),
        ("flavor", "CPU small", "flavor"),
        ("namespace", "dev_ann", "namespace"),
        ("context", "", "context"),
        ("bastion", "ssh://x", "HOST:PORT"),
        ("bastion", "host:99999", "HOST:PORT"),
        ("hostAuthority", "ssh-rsa AAAA", "ssh-ed25519"),
        ("identityFile", "~/.ssh/id.pub", "~/.ssh/id"),
    ],
)
def test_config_set_invalid_value_is_refused(run: Run, key: str, value: str, says: str) -> None:
    done = run("config", "set", key, value)
    assert done.returncode in (2, 6), done.stderr
    assert says in done.stderr, done.stderr
    assert run("config", "set", "homeSize", "none").returncode == 0


@pytest.mark.parametrize("file", ["/etc/shadow", "/etc/hosts", "/no/such/file", "/proc/1/cmdline", "~/.ssh/id.pub"])
@pytest.mark.parametrize("words", ["user add bob --key", "keys add laptop"])
def test_keys_add_on_the_bastion_opens_no_file(run: Run, words: str, file: str) -> None:
    """Which there are, and what is in them, is answered with the same words for all of them."""
    done = run(*words.split(), file, DEVCTL_BROKER="/no/such/socket")
    assert done.returncode == 2
    assert "error: the bastion has no file of yours\n" in done.stderr


def test_config_set_missing_file_warns(run: Run, tmp_path: Path) -> None:
    done = run("config", "set", "kubeconfig", "no-such-file")
    assert done.returncode == 0
    assert f"warning: there is no file {tmp_path}" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_devctl_closed_stream_behaves_like_dev_null(tmp_path: Path, closed: str) -> None:
    """Cron and systemd units start programs like this."""
    script = f'"$0" -m devctl config set user ann {closed}; echo $?; "$0" -m devctl info {closed}; echo $?'
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", script, sys.executable], env=environ, capture_output=True, text=True, check=True)
    codes = [line for line in done.stdout.splitlines() if line.isdecimal()]
    assert codes == ["0", "0"]
    assert "unexpectedly" not in done.stderr
    assert (tmp_path / ".config/devctl/config.yaml").read_text() == 'user: "ann"\n'


@pytest.mark.parametrize("words", ["--help", "list --help", "info", "info -o json", "no-such-command"])
def test_devctl_reader_that_left_exits_with_141(tmp_path: Path, words: str) -> None:
    """Nobody reads at all, which is what `| head -1` is when head was quicker."""
    reader, writer = os.pipe()
    os.close(reader)
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "devctl", *words.split()], env=environ, stdout=writer, stderr=writer, check=False
    )
    os.close(writer)
    assert done.returncode == 141


def test_devctl_broken_config_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "devctl" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("user: ann\nflavour: x\n")
    done = spawn(tmp_path, "list")
    assert done.returncode == 2
    assert f"{path} line 2: unknown key 'flavour'" in done.stderr
    assert "flavor" in done.stderr.splitlines()[1]


def test_devctl_unreachable_cluster_prints_two_lines_and_a_traceback_with_debug(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        "current-context: c\nclusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
    )
    done = spawn(tmp_path, "list", KUBECONFIG=str(config))
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
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
def test_parse_dashes_and_bare_wait_are_split_and_completed(args: list[str], expected: object) -> None:
    line = command_line.parse(args)
    assert (list(line.for_typer), None if line.rest is None else list(line.rest)) == expected


def test_overview_imports_little_of_core_and_no_typer_yaml_or_rich(tmp_path: Path) -> None:
    code = "import sys\nfrom devctl import app\ntry: app.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('typer','yaml','rich','ssl','decimal','hashlib') if m in sys.modules], "
    code += "set(m for m in sys.modules if m.startswith('devservers_core.'))"
    code += " - {'devservers_core.' + m for m in ('names', 'types', 'errors', 'version')})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] set()"


def test_list_imports_no_messages_of_the_agent() -> None:
    """Their dataclasses take five milliseconds of `devctl list`, which needs one number of that package."""
    code = "import sys, devctl.commands.servers.list, devctl.context\n"
    code += "print(sorted(m for m in sys.modules if m.startswith('devservers_core.protocol.agent.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['devservers_core.protocol.agent.exchange']"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_a_prefix_offers_the_commands(tmp_path: Path, shell: str) -> None:
    words = {"COMP_WORDS": "devctl de", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "devctl de"}
    done = spawn(tmp_path, _DEVCTL_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args", **words)
    assert "describe" in done.stdout, done.stderr
    assert "delete" in done.stdout, done.stderr
