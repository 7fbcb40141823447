"""The context of one command: settings, user, namespace and API client.

Invariant: making a Context costs nothing; a command that needs no cluster never opens a connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from devctl import validation
from devctl.config import OUTPUTS, Config
from devctl.output.errors import from_api
from devservers_core import names
from devservers_core.errors import USAGE, ApiError, CommandError

if TYPE_CHECKING:
    from devservers_core.client.api import ApiClient
    from devservers_core.client.kubeconfig import Target
    from devservers_core.types import Json


NO_CLUSTER = "`devctl config set bastion HOST` if there is a bastion, `make up` for a local cluster, or set KUBECONFIG"


class Context:
    """The settings, user and API client of one command.

    `rest` holds the arguments after `--`; None when there was no `--`.
    """

    def __init__(
        self,
        flags: Mapping[str, str | None],
        rest: list[str] | None,
        environ: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """`timeout` is how many seconds the API server may be silent; None is the client's default."""
        self.flags = dict(flags)
        self.rest = rest
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self._timeout = timeout
        self.on_server: Callable[[Json], None] | None = None
        """Called with each DevServer that the command reads by name."""

    @property
    def broker(self) -> str | None:
        """The socket of the bastion's broker; None on any other machine."""
        return self.environ.get("DEVCTL_BROKER") or None

    @cached_property
    def config(self) -> Config:
        """The settings by precedence."""
        return Config(self.flags, self.environ)

    @cached_property
    def target(self) -> Target:
        """The API server and identity in force."""
        path, context = self.config.get("kubeconfig"), self.config.get("context")
        if self.broker:
            from devctl import broker_client

            if path or context:
                raise CommandError(
                    "the bastion has one cluster, no kubeconfig", "leave out --kubeconfig and --context", USAGE
                )
            return broker_client.target(self.broker)
        from devservers_core.client import kubeconfig

        return kubeconfig.load(path, context, self.environ, NO_CLUSTER)

    @cached_property
    def kube(self) -> ApiClient:
        """The API client."""
        from devservers_core.client.api import TIMEOUT, ApiClient

        timeout = TIMEOUT if self._timeout is None else self._timeout
        return ApiClient(self.target, self.environ, timeout=timeout, user_agent="devctl")

    @cached_property
    def user_setting(self) -> tuple[str, str]:
        """The user and the source of that setting. Raises CommandError when there is none."""
        setting = self.config.setting("user")
        if setting:
            if not validation.user_name(setting.value):
                raise CommandError(
                    f"{setting.value!r} ({setting.source}) is not a user name",
                    validation.user_name_rule(setting.value),
                    USAGE,
                )
            return setting.value, setting.source
        namespace = self.config.get("namespace") or self.target.namespace or ""
        if namespace.startswith(names.NAMESPACE_PREFIX):
            return namespace.removeprefix(names.NAMESPACE_PREFIX), f"namespace {namespace}"
        login = self.environ.get("USER") or self.environ.get("LOGNAME") or ""
        if login != "root" and validation.user_name(login):
            return login, "$USER"
        raise CommandError(
            "devctl does not know who you are on the platform",
            f"put `user: NAME` into {self.config.path}, set DEVCTL_USER, or give --user",
            USAGE,
        )

    @property
    def user(self) -> str:
        """The platform user."""
        return self.user_setting[0]

    @cached_property
    def namespace(self) -> str:
        """The namespace of the user's servers."""
        return self.config.get("namespace") or names.namespace_of(self.user)

    def output(self, given: str | None) -> str:
        """The output format of a list: the flag, else the setting."""
        if given is not None and given not in OUTPUTS:
            raise CommandError(f"-o {given} is unknown", "use one of " + ", ".join(OUTPUTS), USAGE)
        return given or self.config.get("output") or "table"

    def server(self, name: str) -> Json:
        """Read the DevServer `name`. Raises CommandError, with a similar name when there is none."""
        from devservers_core.client.paths import server_path

        validation.server_name(name)
        try:
            server = self.kube.get(server_path(self.namespace, name))
            if (server.get("metadata") or {}).get("name") != name:
                # It becomes a file's name and a word of ssh's command line: only what was asked for may.
                raise CommandError(
                    f"the API server answered with another object than {name}", "`devctl info` shows which"
                )
            if self.on_server is not None:
                self.on_server(server)
            return server
        except ApiError as error:
            if error.status == 404 and error.details.get("name"):
                self.missing(name)
            raise from_api(error, f"read {name}") from None

    def missing(self, name: str) -> NoReturn:
        """Raise CommandError for a server that does not exist, with a similar name."""
        from devctl.output.errors import no_server

        raise no_server(name, [s["metadata"]["name"] for s in self.servers()], f"in {self.namespace}")

    def servers(self, namespace: str | None = None) -> list[Json]:
        """List the DevServers of the user's namespace, or of `namespace`."""
        from devservers_core.client.paths import server_path

        path = server_path(namespace or self.namespace)
        try:
            return list(self.kube.get(path).get("items") or [])
        except ApiError as error:
            raise from_api(error, "list servers") from None

    def connection_flags(self) -> list[str]:
        """The flags with which another devctl reaches the same cluster and namespace.

        They replace this process's environment. A setting from the file or a default is left out, so that editing
        the file takes effect there too.
        """
        flags: list[str] = []
        for key in ("user", "context", "kubeconfig", "namespace"):
            setting = self.config.setting(key)
            if setting and setting.source != str(self.config.path):
                value = _absolute(setting.value) if key == "kubeconfig" else setting.value
                flags += [f"--{key}", value]
        if self.config.setting("kubeconfig") is None and self.environ.get("KUBECONFIG"):
            flags += ["--kubeconfig", _absolute(self.environ["KUBECONFIG"])]
        if self.config.setting("user") is None and self.user_setting[1] == "$USER":
            flags += ["--user", self.user]
        return flags


def _absolute(kubeconfig: str) -> str:
    """A kubeconfig, or a list of them, with absolute paths."""
    from devservers_core.client.kubeconfig import files

    if Path(kubeconfig).exists():
        return str(Path(kubeconfig).absolute())
    return os.pathsep.join(str(path.absolute()) for path in files(kubeconfig))
