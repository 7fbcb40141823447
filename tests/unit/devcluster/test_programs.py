"""The one list of packages has every program that a test starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import ROOT, packages
from devcluster.modules import MODULES_BUILT
from infra.deploy.__main__ import app
from tests.support.programs import Programs, Source, in_shell_text

TESTS = ROOT / "tests"
PURE = ("unit", "infra")
"""Tiers whose argument lists are mostly values that nobody starts."""


def known() -> set[str]:
    """What a test may start: what the list has, what `make` builds, and what is in the checkout's environment."""
    listed = {*packages.PROGRAMS, *packages.FILES, *packages.TEST_PROGRAMS, *packages.TEST_FILES}
    built = {program for module in MODULES_BUILT for program in module.programs}
    return listed | built | {"devctl"}


def commands() -> set[str]:
    """What `Platform.run` of the node's tests is given: commands of infra.deploy, which are no programs."""
    named = (each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands)
    return {name.replace("_", "-") for name in named}


def test_tests_start_only_programs_that_the_list_has() -> None:
    files = sorted(TESTS.rglob("*.py"))
    pure = [file for file in files if file.relative_to(TESTS).parts[0] in PURE]
    named = Programs([Source(file) for file in files if file not in pure]).named()
    for name, places in Programs([Source(file) for file in pure], wrappers=False).named().items():
        named.setdefault(name, set()).update(places)
    unknown = {name: sorted(places) for name, places in named.items() if name not in known() | commands()}
    assert not unknown, f"add them with their packages to devcluster/packages.py: {unknown}"
    # The places of today: what reads none of them would find nothing to object to.
    assert {"ssh", "ssh-agent", "setpriv", "mount", "iptables-save", "etcd", "/usr/sbin/sshd"} <= set(named)


@pytest.mark.parametrize(
    "text",
    [
        'subprocess.run(["tcpdump", "-i", "lo"], check=True)',
        'def test() -> None:\n    command = ["tcpdump", *rest]\n    subprocess.Popen(command)',
        'PREFIX = ("unshare", "--mount")\nsubprocess.run([*PREFIX, "tcpdump"])',
        'subprocess.run(["env", "-i", "A=b", "tcpdump"])',
        'subprocess.run(["timeout", "3", "tcpdump"])',
        'subprocess.run(["sh", "-ec", "umask 077\\nx=1 tcpdump -i lo | sed q"])',
        'TEXT = "mount x\\n"\nsubprocess.run(["bash", "-c", TEXT + "exec tcpdump"])',
        'subprocess.run(["sh", "-c", \'exec "$@"\', "sh", str(x), "tcpdump"])',
        'shutil.which("tcpdump")',
        'os.execvp("tcpdump", ["tcpdump"])',
        'def start(*argv: str) -> None:\n    subprocess.run(argv)\n\nstart("tcpdump", "-i", "lo")',
        "class Laptop:\n    def go(self, *argv):\n        subprocess.run([*argv])\n\ndef test(laptop):\n"
        '    laptop.go("tcpdump")',
    ],
)
def test_programs_are_found_wherever_a_test_names_them(text: str) -> None:
    assert "tcpdump" in Programs([Source(Path("made.py"), text)]).named()


def test_programs_by_absolute_path_are_found_anywhere() -> None:
    found = Programs([Source(Path("made.py"), 'CONFIG = "Subsystem sftp /usr/lib/openssh/sftp-server -e\\n"')]).named()
    assert found == {"/usr/lib/openssh/sftp-server": {"made.py:1"}}


def test_programs_inside_a_pod_are_not_the_machines() -> None:
    text = 'subprocess.run(["devctl", "exec", "a", "--", "tcpdump"])\nsubprocess.run(["ssh", "a", "tcpdump -i lo"])'
    assert set(Programs([Source(Path("made.py"), text)]).named()) == {"devctl", "ssh"}


def test_shell_text_gives_the_first_word_of_each_command() -> None:
    text = "if true; then a=1 one --x 'two; three' | four & fi; echo $(five)\nown() { six; }\nown >/dev/null # seven"
    assert list(in_shell_text(text)) == ["one", "four", "five", "six"]


def test_require_names_a_missing_program_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.TEST_PROGRAMS, "no-such-program", "its-package")
    monkeypatch.setitem(packages.TEST_FILES, "/no/such/file", "another")
    with pytest.raises(packages.PackageError) as raised:
        packages.require()
    wrong, remedy = str(raised.value).splitlines()
    assert "no-such-program (package its-package)" in wrong
    assert "/no/such/file (package another)" in wrong
    assert "devcluster packages" in remedy
    assert {"its-package", "another"} <= set(packages.missing(tests=True))
    assert not {"its-package", "another"} & set(packages.missing())
