"""Settings of a stack: defaults, refusals, variables and Pulumi.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from infra import ROOT
from infra.settings.aws.models import KEYS as AWS_KEYS
from infra.settings.loading import load
from infra.settings.person import user_name
from infra.settings.platform.bastion import Bastion
from infra.settings.platform.egress import Egress
from infra.settings.platform.fast_starts import FastStarts
from infra.settings.platform.overcommit import Overcommit
from infra.settings.platform.quota import Quota
from infra.settings.problems import SettingsError
from infra.settings.stack import KEYS, Images, Operator, Queueing, Settings
from tests.support.infra.local_settings import ANN, IMAGES, KEY, raw


def problems(config: dict[str, str], env: dict[str, str] | None = None, stack: str = "local") -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(stack, config, env or {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 * len(caught.value.problems)
    assert all(line.startswith("  ") for line in lines[1::2])
    return lines


def test_minimal_settings_take_the_defaults() -> None:
    settings = load("local", raw(), {})
    assert (settings.operator.replicas, settings.await_, settings.images.pull_policy) == (
        2,
        True,
        "IfNotPresent",
    )
    assert settings.users[0].username == "ann"
    assert settings.users[0].flavors == ("*",)


REFUSED = [
    (raw(cluster=None), "devservers:cluster = (unset): not set; allowed: local or aws"),
    (raw(cluster="eks"), "devservers:cluster = eks: Input should be 'local' or 'aws'; allowed: local or aws"),
    (raw(images={"operator": "a:1", "agent": "b:1"}), "devservers:images.base = (unset): not set; allowed: an image"),
    (raw(images=IMAGES | {"agent": "UPPER"}), "devservers:images.agent = UPPER: not an image reference"),
    (raw(images=IMAGES | {"pullPolicy": "never"}), "devservers:images.pullPolicy = never: "),
    (raw(images=IMAGES | {"gateway": "a:1"}), "devservers:images.gateway = a:1: no such key; allowed: operator, "),
    (raw(images="a:1"), "devservers:images = a:1: Input should be"),
    (raw(operator={"replicas": 0}), "devservers:operator.replicas = 0: "),
    (raw(operator={"replicas": "two"}), "devservers:operator.replicas = two: "),
    (raw(operator={"replicaz": 2}), "no such key; allowed: replicas (nearest)"),
    (raw(operator={"workers": 65}), "allowed: 1 to 64"),
    (raw(operator={"logLevel": "loud"}), "allowed: debug, info, warning or error"),
    (raw(operator={"cpuRequest": "half"}), "devservers:operator.cpuRequest = half: not an amount of CPU; allowed: "),
    (raw(operator={"memoryLimit": "1G"}), "devservers:operator.memoryLimit = 1G: not an amount of memory; allowed: "),
    (raw(images=IMAGES | {"kueue": "localhost:5000/kueue"}), "this image needs a tag"),
    (raw(queueing={"enabled": "perhaps"}), "devservers:queueing.enabled = perhaps: "),
    (raw(queueing={"replicas": 0}), "devservers:queueing.replicas = 0: "),
    (raw(queueing={"replicas": 6}), "allowed: 1 to 5"),
    (raw(queueing={"interactiveShare": 101}), "allowed: 0 to 100, percent"),
    (raw(queueing={"interactiveShare": 0.5}), "devservers:queueing.interactiveShare = 0.5: "),
    (raw(queueing={"interactiveshare": 1}), "no such key; allowed: interactiveShare (nearest)"),
    (raw(queueing={"chart": "charts/kueue"}), "devservers:queueing.chart = charts/kueue: not an absolute path"),
    (raw(queueing={"cpuLimit": "all"}), "devservers:queueing.cpuLimit = all: not an amount of CPU"),
    (raw(queueing={"memoryRequest": "1"}), "devservers:queueing.memoryRequest = 1: not an amount of memory"),
    (raw(queueing="on"), "devservers:queueing = on: "),
    (raw(bastion={"replicas": 0}), "devservers:bastion.replicas = 0: "),
    (raw(bastion={"replicas": 11}), "allowed: 1 to 10"),
    (raw(bastion={"drainSeconds": 3601}), "devservers:bastion.drainSeconds = 3601: "),
    (raw(bastion={"drainSeconds": "1h"}), "allowed: 0 to 3600"),
    (raw(bastion={"nodePort": 22}), "devservers:bastion.nodePort = 22: "),
    (raw(bastion={"kubectl": "no way"}), "devservers:bastion.kubectl = no way: "),
    (raw(bastion={"enabled": "perhaps"}), "devservers:bastion.enabled = perhaps: "),
    (raw(bastion={"record": 2}), "devservers:bastion.record = 2: "),
    (raw(bastion={"memoryLimit": "lots"}), "devservers:bastion.memoryLimit = lots: not an amount of memory"),
    (raw(bastion={"nodeport": 32222}), "no such key; allowed: nodePort (nearest)"),
    (raw(bastion="on"), "devservers:bastion = on: "),
    (raw(overcommit={"cpu": 0.5}), "devservers:overcommit.cpu = 0.5: "),
    (raw(overcommit={"memory": 101}), "allowed: 1 to 100"),
    (raw(overcommit={"gpu": 2}), "a GPU is one server's alone; remove gpu"),
    (raw(overcommit={"disk": 2}), "devservers:overcommit.disk = 2: no such key"),
    (raw(egress={"allow": ["0.0.0.0/0"]}), "0.0.0.0/0 holds link-local addresses"),
    (raw(egress={"allow": ["169.254.169.254/32"]}), "169.254.169.254/32 holds link-local addresses"),
    (raw(egress={"dns": ["169.254.0.0/16"]}), "169.254.0.0/16 holds link-local addresses"),
    (raw(egress={"deny": ["0.0.0.0/0"]}), "0.0.0.0/0 would close everything"),
    (raw(egress={"deny": ["10.0.0.1/8"]}), "not an IPv4 network: 10.0.0.1/8 has host bits set"),
    (raw(egress={"deny": ["example.com"]}), "devservers:egress.deny[0] = example.com: not an IPv4 network"),
    (raw(**{"await": "maybe"}), "devservers:await = maybe: "),
    (raw(awaitSeconds=1), "devservers:awaitSeconds = 1: "),
    (raw(storageClass="Fast!"), "devservers:storageClass = Fast!: "),
    (raw(imagePullSecrets='["Company"]'), "devservers:imagePullSecrets[0] = Company: not a Secret's name"),
    (raw(usrs=[ANN]), "devservers:usrs = "),
    (raw(users="ann"), "devservers:users = ann: "),
    (raw(users=[ANN, ANN]), "user ann is there twice; give each name once"),
    (raw(users=[ANN | {"username": "root"}]), "devservers:users[0].username = root: this user name is reserved"),
    (raw(users=[ANN | {"username": "A"}]), "devservers:users[0].username = A: not a user name; use 2 to 31"),
    (raw(users=[ANN | {"sshPublicKeys": ["x"]}]), "devservers:users[0].sshPublicKeys[0] = x: not an OpenSSH public"),
    (raw(users=[ANN | {"quota": {"gpus": 1}}]), "devservers:users[0].quota.gpus = 1: no such key"),
    (raw(users=[ANN | {"quota": {"gpu": -1}}]), "devservers:users[0].quota.gpu = -1: "),
    (raw(users=[ANN | {"budget": 0}]), "devservers:users[0].budget = 0: budget is not available yet; leave it out"),
    (raw(users=[ANN | {"dotfiles": "file:///etc"}]),
     "devservers:users[0].dotfiles = file:///etc: not a git URL; use one like"),
    (raw(users=[ANN | {"timeZone": "Berlin!"}]), "devservers:users[0].timeZone = Berlin!: not a time zone"),
    (raw(users=[ANN | {"managedBy": "command"}]), "managedBy is always stack for the users of a stack; leave it out"),
    (raw(users=[ANN | {"flavors": ["*", "cpu-smal"]}]),
     "devservers:users[0].flavors[1] = cpu-smal: this stack has no such flavor"),
    (raw(quota={"storage": "500G"}), "devservers:quota.storage = 500G: not an amount of storage; allowed: "),
    (raw(quota={"claim": 0}), "devservers:quota.claim = 0: "),
    (raw(quota={"servers": -1}), "devservers:quota.servers = -1: "),
    (raw(quota={"snapshots": 1001}), "devservers:quota.snapshots = 1001: "),
    (raw(quota={"server": 5}), "no such key; allowed: servers (nearest)"),
    (raw(registries=[]), "devservers:registries = []: "),
    (raw(registries=["https://ghcr.io"]), "devservers:registries[0] = https://ghcr.io: not a registry"),
    (raw(registries="*"), "devservers:registries = *: "),
    (raw(users=[ANN | {"keys": []}]), "devservers:users[0].keys = []: no such key"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "expected"), REFUSED, ids=[text[:60] for _, text in REFUSED])
def test_bad_setting_is_refused_with_what_is_allowed(config: dict[str, str], expected: str) -> None:
    lines = problems(config)
    assert any(expected in line for line in lines), lines


def test_unknown_flavor_names_the_nearest_or_all() -> None:
    assert problems(raw(users=[ANN | {"flavors": ["cpu-smal"]}]))[1] == "  use cpu-small"
    assert "gpu-fake, and * for all" in problems(raw(users=[ANN | {"flavors": ["x"]}]))[1]
    assert load("local", raw(users=[ANN | {"flavors": ["cpu-small", "gpu", "*"]}]), {}).users[0].flavors[1] == "gpu"


def test_default_quota_and_image_sources_are_set() -> None:
    quota = load("local", raw(), {}).quota
    assert (quota.storage, quota.claim, quota.servers, quota.snapshots) == ("500Gi", "1Ti", 20, 5)
    assert load("local", raw(), {}).image_sources == ("*", "localhost/devservers")
    assert load("local", raw(registries=["ghcr.io/team"]), {}).image_sources == ("ghcr.io/team", "localhost/devservers")


def test_bad_setting_remedy_is_a_pulumi_command() -> None:
    assert problems(raw(operator={"replicas": 9}), stack="dev")[1] == (
        "  pulumi config set --stack dev --path devservers:operator.replicas VALUE, or edit stacks/Pulumi.dev.yaml"
    )


def test_unknown_key_names_the_nearest() -> None:
    assert problems(raw(awaitSecond=20))[1] == "  use awaitSeconds"


def test_several_bad_settings_are_reported_together() -> None:
    assert len(problems(raw(cluster="x", usrs="1", operator={"replicas": 0}))) == 6


def test_image_variable_overrides_the_stack() -> None:
    env = {"DEVSERVERS_IMAGE_OPERATOR": "localhost/new:2"}
    assert load("local", raw(), env).images.operator == "localhost/new:2"


def test_queueing_replicas_default_by_cluster() -> None:
    assert load("local", raw(), {}).queueing_replicas == 1
    assert load("local", raw(queueing={"replicas": 3}), {}).queueing_replicas == 3


def test_chart_variable_overrides_the_stack() -> None:
    env = {"DEVSERVERS_KUEUE_CHART": "/built/chart"}
    assert load("local", raw(queueing={"chart": "/mine"}), env).queueing.chart == "/built/chart"
    assert load("local", raw(), env).queueing.enabled


def test_missing_images_remedy_is_make_up() -> None:
    lines = problems(raw(images=None))
    assert lines[1].startswith("  `make up` builds it and sets DEVSERVERS_IMAGE_OPERATOR; or pulumi config set")


class TestPerson:
    """Without users the local stack is for the person at this machine."""

    def env(self, tmp_path: Path, text: str = KEY + "\n", **more: str) -> dict[str, str]:
        (tmp_path / "keys").write_text(text)
        return {"HOME": str(tmp_path), "DEVSERVERS_LOCAL_KEYS_FILE": str(tmp_path / "keys")} | more

    def test_local_user_takes_name_and_keys_from_variables(self, tmp_path: Path) -> None:
        text = f"# mine\n\n{KEY}\n{KEY}\n"
        settings = load("local", raw(users=None), self.env(tmp_path, text, DEVSERVERS_LOCAL_USER="bob"))
        assert [(u.username, u.ssh_public_keys) for u in settings.users] == [("bob", (KEY,))]

    def test_local_user_without_variables_takes_account_and_keys(self, tmp_path: Path) -> None:
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "id_ed25519.pub").write_text(KEY + "\n")
        settings = load("local", raw(users=[]), {"HOME": str(tmp_path), "USER": "Ann.Lee"})
        assert [(u.username, u.ssh_public_keys) for u in settings.users] == [("ann-lee", (KEY,))]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"DEVSERVERS_LOCAL_USER": "root"}, "reserved"),
            ({"DEVSERVERS_LOCAL_USER": "Ann Lee"}, "devservers:users[0].username = Ann Lee: not a user name"),
            ({"DEVSERVERS_LOCAL_KEYS_FILE": "/nonexistent"}, "/nonexistent: the public keys can't be read"),
        ],
    )
    def test_local_user_with_a_bad_variable_names_it(
        self, tmp_path: Path, change: dict[str, str], expected: str
    ) -> None:
        lines = problems(raw(users=None), self.env(tmp_path) | change)
        assert expected in lines[0]
        assert "DEVSERVERS_LOCAL_" in lines[1]

    def test_local_user_with_an_invalid_key_shows_the_line(self, tmp_path: Path) -> None:
        lines = problems(raw(users=None), self.env(tmp_path, 'command="x" ' + KEY))
        assert "devservers:users[0].sshPublicKeys[0]" in lines[0]
        assert "without options" in lines[0]

    def test_local_user_without_a_key_gets_a_remedy(self, tmp_path: Path) -> None:
        lines = problems(raw(users=None), {"HOME": str(tmp_path)})
        assert "no public key in" in lines[0]
        assert "ssh-keygen" in lines[1]

    @pytest.mark.parametrize(
        ("account", "name"),
        [
            *[("ann", "ann"), ("Ann.Lee", "ann-lee"), ("root", "me"), ("dev", "me"), ("7of9", "of9"), ("x", "me")],
            *[("kube-proxy", "me"), ("a" * 40, "a" * 31), ("a" * 30 + "-b", "a" * 30), ("___", "me")],
        ],
    )
    def test_user_name_of_an_account_is_valid(self, account: str, name: str) -> None:
        assert user_name(account) == name


def test_pulumi_yaml_documents_every_key_with_type_and_default() -> None:
    block = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    schema = Settings.model_json_schema()["properties"]
    # What is for AWS only is held against its own models in test_aws_settings.py.
    assert set(block) == set(KEYS) | set(AWS_KEYS)
    assert set(KEYS) == set(schema) - {"aws"}
    block = {key: block[key] for key in KEYS}
    for key, declared in block.items():
        assert declared["type"] == schema[key].get("type", "object"), key
        assert len(declared["description"]) > 20, key
    defaults = {key: each["default"] for key, each in block.items() if "default" in each}
    plain = {key: value for key, value in defaults.items() if value not in ({}, [])}
    assert plain == {key: schema[key]["default"] for key in plain}
    assert set(KEYS) - set(defaults) == {"cluster"}


@pytest.mark.parametrize(
    "model", [Settings, Bastion, Egress, FastStarts, Images, Operator, Overcommit, Queueing, Quota]
)
def test_settings_fields_describe_allowed_values(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        if (
            field.annotation not in (Bastion, Egress, FastStarts, Images, Operator, Overcommit, Queueing, Quota)
            and name != "aws"
        ):
            extra = field.json_schema_extra
            assert isinstance(extra, dict), name
            assert extra["allowed"], name
