"""What is taken for a command, and that it can only be devctl or kubectl."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.audit.event import line
from bastion.session.command_line import (
    for_audit,
    parse_command,
    parse_prompt_line,
    split,
)
from bastion.session.environment import connection_source, session_environment
from bastion.session.errors import CommandRefusedError
from bastion.session.kubectl import SHORT, SHORT_OF, SWITCHES, VALUES, VERBS, check, reads_objects
from devservers_core.protocol.audit import encode_request

KNOWN = frozenset({"list", "ssh", "keys"})
PIECES = [*"devctlkub -'\"\\;|&$()`<>*?~#!\t\n\r\0/.=", "devctl ", "kubectl ", "-f ", "é", "\u2028"]
HOSTILE = st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("devctl", ["devctl"]),
        ("  devctl \t list  ", ["devctl", "list"]),
        ("devctl exec mydev -- 'a b' \"c d\" e\\ f ''", ["devctl", "exec", "mydev", "--", "a b", "c d", "e f", ""]),
        ("devctl shell x -- 'echo $HOME; id'", ["devctl", "shell", "x", "--", "echo $HOME; id"]),
        ("devctl list; id", ["devctl", "list;", "id"]),
        ("devctl $(id) `id` | sh && x > /y", ["devctl", "$(id)", "`id`", "|", "sh", "&&", "x", ">", "/y"]),
        ("devctl create x --env 'A=one\ntwo'", ["devctl", "create", "x", "--env", "A=one\ntwo"]),
        ("devctl # no comment", ["devctl", "#", "no", "comment"]),
        ("devctl\u2028list", None),
        ("kubectl get pods", ["kubectl", "get", "pods"]),
    ],
)
def test_split_of_a_command_gives_its_words(text: str, argv: list[str] | None) -> None:
    if argv is None:
        with pytest.raises(CommandRefusedError):
            parse_command(text, True)
    else:
        assert parse_command(text, True) == argv


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no command"),
        ("   ", "there is no command"),
        ("''", "'' is not possible here"),
        ("sh", "'sh' is not possible here; the bastion runs devctl and kubectl only"),
        ("./devctl", "'./devctl' is not possible"),
        ("DEVCTL list", "is not possible"),
        ("A=b devctl list", "'A=b' is not possible"),
        ("devctl 'a", "quotes of this command do not match"),
        ("devctl a\\", "quotes of this command do not match"),
        ("devctl a\nb", "one line of text"),
        ("devctl 'a'\n'b'", "one line of text"),
        ("devctl 'a\rb'", "one line of text"),
        ("devctl \x00", "one line of text"),
        ("devctl \x1b[2J", "one line of text"),
        ("devctl " + "x" * 70000, "more than 65536 characters"),
        ("sftp-server", "copy to a server instead"),
        ("/usr/lib/openssh/sftp-server", "copy to a server instead"),
        ("scp -t /tmp", "copy to a server instead"),
        ("\x9b\u202e", "is not possible"),
        ("devctl credential", "devctl credential is kubectl's own"),
        ("devctl 'cred'ential x", "devctl credential is kubectl's own"),
    ],
)
def test_parse_command_of_another_program_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        parse_command(text, True)
    assert says in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kubectl --token abc get pods", ["kubectl", "--token", "abc", "get", "pods"]),
        ("kubectl --token 'a b' x", ["kubectl", "--token", "a b", "x"]),
        ("kubectl --token abc 'x", ["kubectl", "--token", "abc", "x"]),
        ('devctl create x -e A="my pass', ["devctl", "create", "x", "-e", "A=my pass"]),
        ("devctl create x --token 'it\"s all", ["devctl", "create", "x", "--token", 'it"s all']),
        ('x --token "a b\\', ["x", "--token", "a b\\"]),
        ("x a\\", ["x", 'a"']),
        ("a\nb\x1b", ["a", "b\x1b"]),
        ("", []),
    ],
)
def test_for_audit_of_a_refused_command_keeps_its_words(text: str, words: list[str]) -> None:
    assert for_audit(text) == words


def test_parse_of_devctl_credential_is_refused() -> None:
    for line_ in ("devctl credential", "credential"):
        with pytest.raises(CommandRefusedError):
            parse_prompt_line(line_, True, KNOWN)


def test_parse_command_of_kubectl_without_the_setting_is_refused() -> None:
    with pytest.raises(CommandRefusedError, match="switched off"):
        parse_command("kubectl get pods", False)


@given(HOSTILE, st.booleans())
def test_parse_of_any_text_gives_devctl_or_kubectl(text: str, kubectl: bool) -> None:
    for at_the_prompt in (False, True):
        try:
            argv = parse_prompt_line(text, kubectl, KNOWN) if at_the_prompt else parse_command(text, kubectl)
        except CommandRefusedError as refusal:
            assert str(refusal).isprintable()
            continue
        assert not argv or argv[0] == "devctl" or (kubectl and argv[0] == "kubectl" and argv[1:2] != ["edit"])
        assert all("\0" not in word for word in argv)


@given(HOSTILE)
def test_split_without_quotes_agrees_with_shlex(text: str) -> None:
    try:
        found = split(text)
    except CommandRefusedError:
        return
    assert found == shlex.split(text)


@given(st.lists(st.text(), max_size=20) | st.lists(st.text("\udc80\udcff\x00\x7f\u2028é", min_size=1)), st.text())
def test_encode_request_of_any_text_is_one_line(argv: list[str], text: str) -> None:
    asked = encode_request("command_start", {"argv": argv, "reason": text, "exit": 3, "ok": True})
    assert asked.count(b"\n") == 1
    assert asked.endswith(b"\n")
    assert asked.isascii()
    fields = json.loads(asked)["fields"]
    assert fields["argv"] == argv or sum(map(len, argv)) > 16000
    written = line({**fields, "event": "command_start", "replica": "r"}, datetime.now(UTC))
    assert "\n" not in written
    assert json.loads(written)["event"] == "command_start"


def test_encode_request_of_a_long_command_stays_small() -> None:
    asked = encode_request("denied", {"argv": ["\0" * 10**6, "x"], "reason": "é" * 10**6})
    assert len(asked) < 2**18
    assert json.loads(asked)


def test_parse_prompt_line_without_devctl_adds_it() -> None:
    assert parse_prompt_line("list -o wide", True, KNOWN) == ["devctl", "list", "-o", "wide"]
    assert parse_prompt_line("--help", True, KNOWN) == ["devctl", "--help"]
    assert parse_prompt_line("devctl ssh x", True, KNOWN) == ["devctl", "ssh", "x"]
    assert parse_prompt_line("", True, KNOWN) == []
    with pytest.raises(CommandRefusedError):
        parse_prompt_line("ls", True, KNOWN)


@pytest.mark.parametrize(
    "words",
    [
        "", "--help", "get pods", "get pods -A -o wide", "get devservers -ojson", "logs mydev -f", "logs -fp mydev",
        "exec -it mydev -- bash -f /etc/passwd --kubeconfig x", "apply -f -", "apply --filename=-", "delete pvc x",
        "get pods -l a=b -n dev-ann", "get pods -o jsonpath={.items}", "auth can-i --list", "describe ds mydev",
        "get pods -o=yaml", "get pods -o go-template={{.kind}} -w=false", "get pods -o custom-columns=A:.kind -Lapp",
        "get pods -Aw --sort-by=.metadata.name --show-labels --no-headers --ignore-not-found", "patch ds x -p {}",
        "logs x -fc dev --tail=-1 --since 5m --timestamps --prefix --limit-bytes=9", "explain ds.spec --recursive",
        "delete pod x --now --grace-period=0 --force --wait=false --timeout 5s --dry-run", "get ds -n=dev-ann -hw",
        "apply -Rf - --server-side --dry-run=server", "wait --for condition=Ready pod/x", "exec x -itq -c dev -- --raw",
        "create configmap x --from-literal a=b", "create -f=-", "exec x -- sh -c x -- --kubeconfig=/x", "version",
        "delete -i pod x", "label ds x a=b --overwrite", "get pods --chunk-size=0 -", "version --client -ojson",
    ],
)  # fmt: skip
def test_kubectl_check_takes_commands_within_the_namespace(words: str) -> None:
    check(["kubectl", *words.split()])


@pytest.mark.parametrize(
    "words",
    [
        "edit pod x", "cp a:/x /y", "proxy", "port-forward x 80", "config view", "plugin list", "debug x", "foo",
        "--kubeconfig=x get pods", "--namespace get edit pod", "-n x get pods", "get pods --kubeconfig /dev/stdin",
        "get pods --kubeconfig=/dev/stdin", "get pods -s https://x", "get pods -shttps://x", "get pods --server=x",
        "get pods --token x", "get pods --as root", "get pods --context x", "get pods --user x", "get pods --cluster x",
        "apply -f /etc/passwd", "apply -f/etc/passwd", "apply -f=/etc/passwd", "apply -Rf /etc/passwd", "apply -k .",
        "apply --filename /etc/passwd", "apply --filename=/x", "apply --filename", "apply -f", "delete -f /x",
        "get pods -o go-template-file=/etc/passwd", "get pods -ogo-template-file=/x", "get -o=jsonpath-file=/x pods",
        "get pods --output custom-columns-file=/x", "get pods --output=jsonpath-file=/x", "get pods --template=/x",
        "create configmap x --from-file=/etc/passwd", "create secret generic x --from-env-file=/x",
        "create -f - --edit", "apply edit-last-applied ds x", "patch ds x --patch-file /x", "get --raw /api",
        "get pods --cache-dir=/x", "get pods --profile=cpu --profile-output=/x", "kustomize .", "replace -f x",
        "get pods -n -f /etc/passwd", "create secret tls x --cert=/x --key=/y", "get pods --client-key=/x",
        "get pods -L -- --kubeconfig=/dev/stdin", "get pods --label-columns -- --kubeconfig=/dev/stdin",
        "get pods -- x",
        "exec x -c -- --kubeconfig=/x", "exec x -n=-- -- id", "exec x --container=-- -- id",
        "logs x -- --kubeconfig=/x",
        "create configmap x --from_file=/x", "patch ds x --patch_file=/x", "get pods --client_key=/x",
        "get --show_labels",
        "get pods --cache_dir=/x", "get pods --no_headers", "get pods -v9", "get pods -v=9", "get pods --v=9", "get -x",
        "get pods --vmodule=x", "get pods -o", "get pods -n", "get pods --output", "get pods -o=", "apply -f=",
        "get pods -otemplatefile=/x", "get pods -o templatefile=/x", "get pods -o GO-TEMPLATE-FILE=/x",
        "get pods -o jsonpath-file", "get pods -wf /x", "get pods -w=f /x -f/x", "get pods -Af/x", "get pods --",
        "get pods ---kubeconfig=/x", "get pods --=x", "get pods --kubeconfi=/x", "get pods -=x", "get pods -tkx",
        "exec x -p -- id", "get pods --all-namespaces --profile cpu", "logs x --tail -1", "get pods --log_file=/x",
        "apply -n edit-last-applied edit-last-applied ds x", "create job x --kuberc=/x",
        "get pods -p -- --kubeconfig=x",
    ],
)  # fmt: skip
def test_kubectl_check_refuses_files_programs_and_other_clusters(words: str) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        check(["kubectl", *words.split()])
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


@given(st.lists(st.sampled_from([*SWITCHES, *VALUES]).map("--{}".format) | st.sampled_from(["-L", "-n", "-it", "x"])))
def test_kubectl_check_refuses_an_end_of_flags_after_any_flag(words: list[str]) -> None:
    """Whatever stands before it, a kubeconfig behind `--` is only taken where it is the pod's: after exec's own."""
    for verb in ("get", "logs", "create"):
        with pytest.raises(CommandRefusedError):
            check(["kubectl", verb, *words, "--", "--kubeconfig=/dev/stdin"])
    last = words[-1].lstrip("-") if words else ""
    if last in VALUES or last in ("L", "n"):
        with pytest.raises(CommandRefusedError):
            check(["kubectl", "exec", *words, "--", "--kubeconfig=/dev/stdin"])


def test_kubectl_flags_are_switches_or_take_values_and_never_both() -> None:
    assert not SWITCHES & VALUES
    for meaning in (SHORT, *SHORT_OF.values()):
        assert set(meaning.values()) <= SWITCHES | VALUES


def test_kubectl_verbs_that_start_programs_or_open_ports_are_not_listed() -> None:
    assert not VERBS & {"edit", "cp", "proxy", "port-forward", "config", "plugin", "debug", "attach", "run", "diff"}


def test_session_environment_of_a_hostile_client_is_fixed() -> None:
    given_ = {
        "USER": "ann", "HOME": "/home/x", "PATH": "/evil", "TERM": "xterm-256color", "LANG": "C.UTF-8",
        "LC_ALL": "../../x y", "LC_EVIL": "1", "LD_PRELOAD": "/x.so", "PYTHONPATH": "/x", "KUBECONFIG": "/x",
        "DEVCTL_BROKER": "/x", "DEVCTL_USER": "root", "EDITOR": "sh", "SSH_AUTH_SOCK": "/tmp/a", "BASTION_ROOT": "/x",
    }  # fmt: skip
    assert session_environment(given_, "/run/broker", "b:1", "ssh-ed25519 A") == {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/false", "USER": "ann", "LOGNAME": "ann",
        "DEVCTL_BROKER": "/run/broker", "DEVCTL_USER": "ann", "TERM": "xterm-256color", "LANG": "C.UTF-8",
        "SSH_AUTH_SOCK": "/tmp/a", "DEVCTL_BASTION": "b:1", "DEVCTL_HOST_AUTHORITY": "ssh-ed25519 A",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("connection", "found"),
    [
        ("10.0.0.1 5022 10.0.0.2 22", {"src_ip": "10.0.0.1", "src_port": 5022}),
        ("fe80::1 5022 fe80::2 22", {"src_ip": "fe80::1", "src_port": 5022}),
        ("", {}),
        ("x", {}),
    ],
)
def test_connection_source_of_ssh_connection_is_address_and_port(connection: str, found: dict[str, object]) -> None:
    assert connection_source({"SSH_CONNECTION": connection}) == found


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("kubectl apply -f -", True),
        ("kubectl apply -f-", True),
        ("kubectl apply -Rf -", True),
        ("kubectl delete --filename=-", True),
        ("kubectl create --filename -", True),
        ("kubectl get pods", False),
        ("kubectl label pod x buf-", False),
        ("kubectl get pods -l a=-", False),
    ],
)
def test_reads_objects_is_true_for_standard_input_alone(text: str, reads: bool) -> None:
    argv = parse_command(text, True)
    assert reads_objects(argv) is reads
