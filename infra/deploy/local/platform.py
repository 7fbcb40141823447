"""Brings the local platform up and takes it down; each step does only what is missing.

The steps of `up`: choose a cluster, build missing tools, start the cluster, load the images, run Pulumi, write devctl's
configuration, and create a first server that answers over SSH.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from devcluster import images, modules, packages, toolchain
from devcluster.cluster import Cluster
from devcluster.images import reference_of
from devcluster.node.state import CONTEXT
from devcluster.progress import Progress
from devservers_core.names import BASTION_INFO, BASTION_NAMESPACE, HOST_CA_ENTRY
from devservers_core.paths import Paths
from infra.catalog.images import PLATFORM, PYTORCH, Image
from infra.deploy.leftover import describe
from infra.deploy.local import networks
from infra.deploy.local.getting_started import BastionEndpoint, GettingStarted
from infra.deploy.local.images import references
from infra.deploy.local.kubectl import kubectl as kubectl_of
from infra.deploy.local.stack import LocalStack
from infra.errors import InfraError
from infra.local import capacity, context
from infra.local.networks import VARIABLE as NETWORK_VARIABLE
from infra.local.networks import ClusterNetworks
from infra.preview import stackfile
from infra.settings.person import Person, person
from infra.settings.platform.bastion import PORT_VARIABLE, Bastion
from infra.settings.stack import CHART_VARIABLE, IMAGE_VARIABLES


@dataclass
class Platform:
    """The local platform of one person: their paths, environment and terminal."""

    paths: Paths
    env: Mapping[str, str]
    progress: Progress

    @property
    def cluster(self) -> Cluster:
        """The embedded cluster, whether it runs or not."""
        return Cluster(self.paths.node)

    def choice(self) -> context.Choice:
        """The cluster this platform goes to."""
        return context.choose_here(self.env, packages.unfit())

    def up(self, demo: bool, fake_gpus: int | None = None, pytorch: bool | None = None) -> None:
        """Bring everything up; what is there already is left alone.

        ``fake_gpus`` GPUs are pretended on the embedded cluster, for trying the queue; None for as many as before.
        ``pytorch`` is whether the PyTorch image is built (for CPUs) and named by GPU flavors; None for as before.
        """
        if pytorch is not None:
            self._choose_pytorch(pytorch)
        chosen = self.choice()
        self.progress.say(f"cluster: {chosen.reason}")
        if chosen.embedded:
            packages.ensure(self.progress)
            toolchain.ensure(modules.ALL, self.paths, self.progress)
            self.cluster.up(self.progress)
            self._pretend_gpus(fake_gpus)
        elif fake_gpus:
            raise context.ContextError(
                f"GPUs are pretended on the embedded cluster only, and this is {chosen.context}",
                f"leave FAKE_GPUS out, or set DEVSERVERS_CONTEXT={context.EMBEDDED}",
            )
        else:
            toolchain.ensure((*modules.ENGINE, *modules.QUEUEING), self.paths, self.progress)
        self._images(chosen)
        if chosen.embedded and (bastion := self._bastion()).enabled:
            self._publish(bastion.node_port)
        who = self._person()
        with self.progress.step("measuring what the cluster has for servers"):
            stack = self._stack(chosen, who)
        with self.progress.step("provisioning the platform with Pulumi", prints=True):
            outputs = stack.up()
        endpoint = self._endpoint(chosen, outputs)
        settings, getting_started = self._settings(chosen, who), GettingStarted(self.paths, self.env, self.progress)
        getting_started.configure(settings)
        if self._pytorch_file.exists():
            self.progress.say(f"PyTorch: devctl create NAME --image {reference_of(PYTORCH)}")
        if demo:
            getting_started.first_server(settings, endpoint)
        else:
            self.progress.say(f"the platform is up, {self.progress.total()} in all")

    def down(self, purge: bool) -> None:
        """Stop the embedded cluster and keep its state, or with ``purge`` delete it with everything in it."""
        if not self.paths.node.exists():
            self.progress.say("there is no embedded cluster here, nothing to stop")
            return
        self.cluster.down(self.progress)
        if purge:
            self.cluster.purge()
            shutil.rmtree(self.paths.state / "pulumi" / context.EMBEDDED, ignore_errors=True)
            (self.paths.state / "user").unlink(missing_ok=True)
            self._pytorch_file.unlink(missing_ok=True)
            self.progress.say("the embedded cluster, its homes and its Pulumi state are deleted")
        else:
            self.progress.say(
                f"the embedded cluster is stopped; its state, homes included, is kept in {self.paths.node}\n"
                "  make up          starts it again\n  make down PURGE=1  deletes it"
            )

    def preview(self) -> None:
        """Print what `up` would change."""
        chosen = self.choice()
        if chosen.embedded and self.cluster.pid() is None:
            raise InfraError("the embedded cluster is not running", "run `make up` first")
        self._stack(chosen, self._person()).preview()

    def destroy(self) -> None:
        """Take the platform off the cluster, and name what stays: the homes."""
        chosen = self.choice()
        left = LocalStack(chosen, self.paths, self.env).destroy()
        self.progress.say(describe(left))

    def homes(self) -> list[str]:
        """The volumes on the embedded cluster, as NAMESPACE/NAME; none when it does not run."""
        if self.cluster.pid() is None:
            return []
        claims = json.loads(self.cluster.kubectl("get", "pvc", "-A", "-o", "json"))
        return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in claims["items"]]

    def _images(self, chosen: context.Choice) -> None:
        """Build the images and hand them to the cluster."""
        builder = images.Builder(self.paths, self.progress)
        built = [builder.kueue(), *builder.build(self._wanted_images()).values()]
        if chosen.embedded:
            images.load(self.cluster, [builder.pause(), *built], self.progress)
        else:
            images.load_into_context(str(chosen.context), built, self.progress)

    def _endpoint(self, chosen: context.Choice, outputs: Mapping[str, object]) -> BastionEndpoint | None:
        """The bastion's endpoint; None where the stack has no bastion."""
        address = outputs.get("bastion")
        if not isinstance(address, str):
            return None
        info = kubectl_of(chosen, self.paths, self.env).get(
            "configmaps", "--namespace", BASTION_NAMESPACE, "--field-selector", f"metadata.name={BASTION_INFO}"
        )
        return BastionEndpoint(address, str(info[0]["data"][HOST_CA_ENTRY])) if info else None

    def _bastion(self) -> Bastion:
        """The bastion's settings in the stack's file; defaults where they are wrong, which the program reports."""
        try:
            return Bastion.model_validate_json(stackfile.read("local").config.get("bastion", "{}"))
        except ValidationError:
            return Bastion()

    def _publish(self, node_port: int) -> None:
        """Give the bastion a port of this machine that no other platform has; the same as before when it is free."""
        before = self.cluster.published().get(node_port, node_port)
        port = self.cluster.publish(node_port)
        if port != before:
            self.progress.say(f"port {before} of this machine is taken: the bastion is at 127.0.0.1:{port}")

    @property
    def _fake_gpus(self) -> Path:
        """How many GPUs are pretended on the embedded cluster; goes with its state."""
        return self.paths.node / "fake-gpus"

    def _pretend_gpus(self, count: int | None) -> None:
        if count is not None:
            self._fake_gpus.write_text(f"{count}\n")
        if self._fake_gpus.exists():
            self.cluster.pretend_gpus(int(self._fake_gpus.read_text()))

    @property
    def _pytorch_file(self) -> Path:
        """Present where the PyTorch image was asked for."""
        return self.paths.state / "pytorch"

    def _choose_pytorch(self, wanted: bool) -> None:
        self._pytorch_file.parent.mkdir(parents=True, exist_ok=True)
        if wanted:
            self._pytorch_file.touch()
        else:
            self._pytorch_file.unlink(missing_ok=True)

    def _wanted_images(self) -> tuple[Image, ...]:
        """The platform's images, PyTorch's last: it is built on the base image."""
        return (*PLATFORM, PYTORCH) if self._pytorch_file.exists() else PLATFORM

    def _capacity(self, chosen: context.Choice) -> capacity.Capacity:
        """What the cluster has for servers, measured."""
        kubectl = kubectl_of(chosen, self.paths, self.env)
        fake = int(self._fake_gpus.read_text()) if chosen.embedded and self._fake_gpus.exists() else 0
        nodes, namespaces = kubectl.get("nodes"), kubectl.get("namespaces")
        return capacity.measured(nodes, kubectl.get("pods", "--all-namespaces"), namespaces, fake)

    def _networks_of(self, chosen: context.Choice) -> ClusterNetworks:
        """The networks around the cluster."""
        kubectl = kubectl_of(chosen, self.paths, self.env)
        services = kubectl.get("services", "--namespace", "default", "--field-selector", "metadata.name=kubernetes")
        slices = kubectl.get(
            "endpointslices", "--namespace", "default", "--selector", "kubernetes.io/service-name=kubernetes"
        )
        site = self.cluster.site if chosen.embedded else None
        return networks.measure(kubectl.get("nodes"), services, slices, site)

    @property
    def _own_key(self) -> Path:
        """The key made for a person who has none in ~/.ssh."""
        return self.paths.state / "id_ed25519"

    def _has_own_key(self, who: Person) -> bool:
        return Path(who.keys_from) == self._own_key

    def _person(self) -> Person:
        """The person, with a key made for them when they have none."""
        who = person(self.env)
        # Whoever the platform was made for it stays made for: by another account's name (sudo's, say) Pulumi would
        # delete them and stop their servers.
        user_file = self.paths.state / "user"
        before = user_file.read_text().strip() if user_file.exists() else ""
        if before and not self.env.get("DEVSERVERS_LOCAL_USER"):
            who = replace(who, name=before)
        if who.name != before:
            user_file.parent.mkdir(parents=True, exist_ok=True)
            user_file.write_text(who.name + "\n")
        if who.keys:
            return who
        key = self._own_key
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"devservers {who.name}", "-f", str(key)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            self.progress.say(f"no SSH key in ~/.ssh: made one, {key}")
        return Person(who.name, (key.with_suffix(".pub").read_text().strip(),), str(key))

    def _stack(self, chosen: context.Choice, who: Person) -> LocalStack:
        """The stack, with what the program reads of this checkout, this cluster and this person."""
        own = references(self.paths, self._wanted_images())
        added = {variable: own[name] for name, variable in IMAGE_VARIABLES.items() if name in own}
        added[CHART_VARIABLE] = str(toolchain.chart(self.paths))
        added[capacity.VARIABLE] = str(self._capacity(chosen))
        added[NETWORK_VARIABLE] = str(self._networks_of(chosen))
        if chosen.embedded and (port := self.cluster.published().get(self._bastion().node_port)):
            added[PORT_VARIABLE] = str(port)
        added["DEVSERVERS_LOCAL_USER"] = who.name
        if self._has_own_key(who):
            added["DEVSERVERS_LOCAL_KEYS_FILE"] = f"{self._own_key}.pub"
        return LocalStack(chosen, self.paths, {**self.env, **added})

    def _settings(self, chosen: context.Choice, who: Person) -> dict[str, str]:
        """What devctl has to know to reach this platform as this person, by the keys of its configuration."""
        settings = {"user": who.name, "kubeconfig": str(chosen.kubeconfig), "context": chosen.context or CONTEXT}
        if self._has_own_key(who):
            settings["identityFile"] = who.keys_from
        return settings
