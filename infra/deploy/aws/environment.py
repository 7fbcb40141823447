"""Brings a stack on AWS up, previews it and takes it down.

Each command first checks that everything it needs is there. `down` ends users' servers while the operator still runs,
then destroys the stack in the order of Pulumi's graph, and names what neither of them removes.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.progress import Progress
from devservers_core.names import BASTION_NAMESPACE, SYSTEM_NAMESPACE
from infra.deploy import rollouts
from infra.deploy.aws import awscli, docker_login, enis, leftovers, offerings, policy_pack, state
from infra.deploy.aws.end_servers import end_servers
from infra.deploy.aws.end_servers_plan import UserClaim
from infra.deploy.aws.stack import need_stack, runner
from infra.deploy.aws.state import StateResource
from infra.deploy.aws.tools import Tools, find_tools
from infra.deploy.kubectl import Kubectl
from infra.deploy.leftover import Leftover
from infra.deploy.stack_runner import PulumiError, StackLockedError, StackRunner
from infra.errors import InfraError
from infra.preview.simulation import settings_of
from infra.preview.stackfile import StackFile

Ask = Callable[[str], bool]
"""Asks a question; true for yes."""


class RefusedError(InfraError):
    """A command is refused as things are."""


@dataclass(frozen=True)
class Environment:
    """One stack on AWS, a person's environment and terminal."""

    stack: StackFile
    env: Mapping[str, str]
    progress: Progress

    @property
    def region(self) -> str:
        """The AWS region of the stack."""
        return self.stack.config.get("region", "")

    def preview(self) -> None:
        """`pulumi preview` with the policy pack."""
        tools = self._tools(("pulumi", "aws"))
        stack = self._stack(tools)
        self._check_offerings(tools)
        stack.preview(policy_packs=[policy_pack.ensure(self.env, self.progress)])

    def up(self, yes: bool, ask: Ask | None = None) -> None:
        """`pulumi preview` and `pulumi up` with the policy pack; between them it asks, unless ``yes``.

        ``ask`` is None where nobody is there to be asked.
        """
        if not yes and ask is None:
            raise RefusedError(
                f"stack {self.stack.name} changes an AWS account, and nobody is there to be asked",
                "run it in a terminal, or with YES=1",
            )
        tools = self._tools(("pulumi", "aws"))
        stack = self._stack(tools)
        docker_login.require(self.stack, self.env)
        self._check_offerings(tools)
        packs = [policy_pack.ensure(self.env, self.progress)]
        stack.preview(policy_packs=packs)
        if not yes and ask is not None and not ask(f"Perform this update of stack {self.stack.name}?"):
            raise RefusedError("nothing was changed", "run it again and say yes, or with YES=1")
        outputs = stack.up(policy_packs=packs)
        self._wait_for_rollouts(outputs.get("kubeconfig"), tools)

    def down(self, ask: Ask, end_first: bool = True) -> list[Leftover]:
        """Destroy the stack and give what is left. Raises :class:`RefusedError` when the answer is no.

        Without ``end_first`` servers are not ended before, and the disks of homes are not set to be kept.
        """
        tools = self._tools(("pulumi", "aws", *(("kubectl",) if end_first else ())))
        stack = self._stack(tools)
        before = state.resources(stack.export())
        refuse_protected(self.stack.name, before, self.region)
        if not before:
            self.progress.say(f"stack {self.stack.name} holds nothing")
            return []
        account = self.stack.config.get("accountId", "(unknown)")
        if not ask(
            f"Take down stack {self.stack.name}, {len(before)} resources in account {account}, {self.region}? "
            "Everybody's servers end; homes stay."
        ):
            raise RefusedError("nothing was taken down", "run it again and say yes, or with YES=1")
        cluster = state.cluster_name(before)
        claims = self._end_servers(stack, tools) if end_first and cluster else []
        self._destroy(stack, tools.path("aws"), cluster, ask)
        after = state.resources(stack.export())
        return leftovers.leftovers(before, after, claims, self.region)

    def _check_offerings(self, tools: Tools) -> None:
        aws = settings_of(self.stack).aws
        if aws is not None:
            offerings.check(aws, tools.path("aws"), self.progress.say)

    def _tools(self, programs: Sequence[str]) -> Tools:
        tools = find_tools(self.env)
        tools.require(*programs)
        return tools

    def _stack(self, tools: Tools) -> StackRunner:
        stack = runner(self.stack.name, tools, self.env)
        need_stack(stack)
        return stack

    def _end_servers(self, stack: StackRunner, tools: Tools) -> list[UserClaim]:
        kubeconfig = stack.outputs().get("kubeconfig")
        if not kubeconfig:
            raise RefusedError(
                f"stack {self.stack.name} has a cluster and no output kubeconfig: users' work can't be ended first",
                "run `pulumi up` to its end, or DRAIN=0 to go on without: disks of homes may be deleted then, "
                "or stay without being named when the cluster is gone (docs/guides/aws.md, step 10)",
            )
        with self._kubectl(kubeconfig, tools) as kubectl:
            claims = end_servers(kubectl, self.progress)
        for claim in claims:
            self.progress.say(f"home kept: {claim}")
        return claims

    @contextmanager
    def _kubectl(self, kubeconfig: object, tools: Tools) -> Iterator[Kubectl]:
        with tempfile.TemporaryDirectory(prefix="devservers-") as folder:
            file = Path(folder) / "kubeconfig"
            file.touch(mode=0o600)
            file.write_text(kubeconfig if isinstance(kubeconfig, str) else json.dumps(kubeconfig))
            yield Kubectl(tools.path("kubectl"), file, self.env)

    def _wait_for_rollouts(self, kubeconfig: object, tools: Tools) -> None:
        if not kubeconfig:
            return
        if tools.programs.get("kubectl") is None:
            self.progress.say("kubectl is not on this machine: not looked whether the rollouts are complete")
            return
        with self._kubectl(kubeconfig, tools) as kubectl:
            rollouts.wait(kubectl, (SYSTEM_NAMESPACE, BASTION_NAMESPACE))

    def _destroy(self, stack: StackRunner, aws: str, cluster: str, ask: Ask) -> None:
        try:
            stack.destroy()
        except StackLockedError:
            raise
        except PulumiError:
            if not cluster or not self._delete_enis(aws, cluster, ask):
                raise
            stack.destroy()

    def _delete_enis(self, aws: str, cluster: str, ask: Ask) -> bool:
        """Delete the network interfaces that nodes left behind; False when there are none or the answer is no."""
        unused = enis.parse(awscli.run(enis.list_command(aws, cluster, self.region)))
        named = ", ".join(each.id for each in unused)
        if not unused or not ask(f"Delete {len(unused)} network interfaces of {cluster} that nobody uses: {named}?"):
            return False
        for each in unused:
            with self.progress.step(f"deleting {each.id}"):
                awscli.run(enis.delete_command(aws, each, self.region))
        return True


def refuse_protected(stack: str, resources: Sequence[StateResource], region: str) -> None:
    """Raises :class:`RefusedError` while something is protected: destroy would stop in its middle.

    It names what AWS itself protects too: in production no setting of the stack turns that off.
    """
    protected = leftovers.protected(resources)
    if protected:
        named = ", ".join(f"{each.type.rpartition(':')[2]} {each.name}" for each in protected)
        raise RefusedError(
            f"stack {stack} protects {len(protected)} resources: {named}",
            "whoever may lose them lets each go first (nothing was touched):\n"
            + "\n".join(
                [
                    *(f"    pulumi state unprotect '{each.urn}' --stack {stack}" for each in protected),
                    *(f"    {shlex.join(command)}" for command in leftovers.unprotect_commands(resources, region)),
                ]
            ),
        )
