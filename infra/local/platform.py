"""The local platform from nothing to a first server, and back: each step does only what is missing.

The order is the story a person sees: choose a cluster, build what is missing, start it, load the images, let
Pulumi provision the platform, tell devctl where it is, and prove it with a server one can SSH into.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from infra.images import PLATFORM
from infra.local import context, images, packages, toolchain
from infra.local.cluster import CONTEXT, Cluster, ClusterError
from infra.local.engine import Engine, describe
from infra.local.guide import Guide
from infra.local.paths import Paths
from infra.local.person import Person, person
from infra.local.progress import Progress


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

    def up(self, demo: bool) -> None:
        """Bring everything up; what is there already is left alone."""
        chosen = self.choice()
        self.progress.say(f"cluster: {chosen.reason}")
        if chosen.embedded:
            packages.ensure(self.progress)
            toolchain.ensure((*toolchain.ENGINE, *toolchain.CLUSTER), self.paths, self.progress)
            self.cluster.up(self.progress)
        else:
            toolchain.ensure(toolchain.ENGINE, self.paths, self.progress)
        references = self._images(chosen)
        who = self._person()
        self.progress.say("provisioning the platform with Pulumi")
        self._engine(chosen, who, references).up()
        settings, guide = self._settings(chosen, who), Guide(self.paths, self.env, self.progress)
        guide.configure(settings)
        if demo:
            guide.first_server(settings)

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
            raise ClusterError("the embedded cluster is not running\n  run `make up` first")
        self._engine(chosen, self._person(), self._references()).preview()

    def destroy(self) -> None:
        """Take the platform off the cluster, and name what stays: the homes."""
        chosen = self.choice()
        left = self._engine(chosen, self._person(), self._references()).destroy()
        self.progress.say(describe(left) or "nothing is left")

    def homes(self) -> list[str]:
        """The volumes on the embedded cluster, as NAMESPACE/NAME; none when it does not run."""
        if self.cluster.pid() is None:
            return []
        found = json.loads(self.cluster.kubectl("get", "pvc", "-A", "-o", "json"))
        return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found["items"]]

    def _images(self, chosen: context.Choice) -> dict[str, str]:
        """Build the images and hand them to the cluster; their references by name."""
        builder = images.Builder(self.paths, self.progress)
        built = builder.build(PLATFORM)
        if chosen.embedded:
            images.load(self.cluster, [builder.pause(), *built.values()], self.progress)
        else:
            images.load_into_context(str(chosen.context), built.values(), self.progress)
        return {name: image.reference for name, image in built.items()}

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
        known = self.paths.state / "user"
        before = known.read_text().strip() if known.exists() else ""
        if before and not self.env.get("DEVSERVERS_LOCAL_USER"):
            who = replace(who, name=before)
        if who.name != before:
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(who.name + "\n")
        if who.keys:
            return who
        key = self._own_key
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"devservers {who.name}", "-f", str(key)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            self.progress.say(f"no SSH key in ~/.ssh: made one, {key}")
        return Person(who.name, (key.with_suffix(".pub").read_text().strip(),), str(key))

    def _engine(self, chosen: context.Choice, who: Person, references: Mapping[str, str]) -> Engine:
        added = {f"DEVSERVERS_IMAGE_{name.upper()}": reference for name, reference in references.items()}
        added["DEVSERVERS_LOCAL_USER"] = who.name
        if self._has_own_key(who):
            added["DEVSERVERS_LOCAL_KEYS_FILE"] = f"{self._own_key}.pub"
        return Engine(chosen, self.paths, {**self.env, **added})

    def _references(self) -> dict[str, str]:
        """The references that this checkout's images have, built or not."""
        return {image.name: images.reference_of(image) for image in PLATFORM}

    def _settings(self, chosen: context.Choice, who: Person) -> dict[str, str]:
        """What devctl has to know to reach this platform as this person, by the keys of its configuration."""
        settings = {"user": who.name, "kubeconfig": str(chosen.kubeconfig), "context": chosen.context or CONTEXT}
        if self._has_own_key(who):
            settings["identityFile"] = who.keys_from
        return settings
