"""Connection settings of the operator: a kubeconfig's, or those of its pod.

Kubeconfig files are found, merged and checked by core, as devctl's are; kubernetes.aio logs in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kubernetes.aio import config as kube_config
from kubernetes.aio.client.configuration import Configuration

from devservers_core.client import kubeconfig
from devservers_core.errors import USAGE, CommandError

_UNSUPPORTED_USER_ENTRIES = ("as", "as-uid", "as-groups", "as-user-extra")
"""kubernetes.aio ignores these in silence, and the operator would act as somebody else."""


async def load_configuration(context: str | None = None, environ: Mapping[str, str] = os.environ) -> Configuration:
    """The API client's settings: $KUBECONFIG, else the pod's account, else ~/.kube/config.

    `context` is a context of the kubeconfig, its current one when None; with one the pod's account is not used.
    Raises CommandError.
    """
    configuration = Configuration()
    asked = context or environ.get("KUBECONFIG")
    target = None if not asked and environ.get("KUBERNETES_SERVICE_HOST") else kubeconfig.load(None, context, environ)
    if asked and target is not None and target.source == str(kubeconfig.SERVICE_ACCOUNT):
        raise CommandError(
            f"there is no kubeconfig for {asked!r}, and the pod's own account was not asked for",
            "correct KUBECONFIG, or leave out the context",
            USAGE,
        )
    try:
        if target is None or target.source == str(kubeconfig.SERVICE_ACCOUNT):
            # Its token changes every hour: kubernetes.aio reads the file again.
            kube_config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
        else:
            _check(target.user, f"the user of context {target.context!r} in kubeconfig {target.source}")
            document: dict[str, Any] = kubeconfig.document(
                target.context, target.cluster, target.user, target.namespace
            )
            await kube_config.load_kube_config_from_dict(  # type: ignore[no-untyped-call]
                document, client_configuration=configuration
            )
    except kube_config.ConfigException as error:
        raise CommandError(str(error), "correct the kubeconfig, or run the operator in a pod", USAGE) from None
    # The chain and the name are still verified. Strict mode (Python 3.13's default) also refuses certificates
    # without an authority key identifier, which many clusters' API servers have.
    configuration.disable_strict_ssl_verification = True
    return configuration


def _check(user: Mapping[str, Any], where: str) -> None:
    for entry in _UNSUPPORTED_USER_ENTRIES:
        if user.get(entry):
            raise CommandError(
                f"{where} has {entry}: the operator can't impersonate", "use a context without impersonation", USAGE
            )
