"""Tests that the API server's refusals become two lines. The messages are a real API server's."""

from __future__ import annotations

from typing import Any

import pytest

from devctl.output.errors import from_api
from devservers_core import errors as core_errors
from devservers_core.errors import ApiError


def refusal(status: int, reason: str, message: str, causes: Any = (), **details: Any) -> core_errors.CommandError:
    return from_api(ApiError(status, reason, message, list(causes), details), "create mydev")


CASES = [
    (
        refusal(
            403,
            "Forbidden",
            'devservers.devservers.io "x" is forbidden: status unknown for quota: dev-user, resources: '
            "count/devservers.devservers.io",
        ),
        "could not create mydev: Kubernetes has not counted yet what you have",
        "try again in a few minutes: after an installation it takes up to five",
        core_errors.FAILURE,
    ),
    (
        refusal(
            422,
            "Invalid",
            'DevServer.devservers.io "x" is invalid: spec.mode: Invalid value: ...',
            [
                {
                    "reason": "FieldValueInvalid",
                    "field": "spec.mode",
                    "message": 'Invalid value: "distributed": mode distributed is not available yet; use standalone',
                }
            ],
        ),
        "spec.mode: mode distributed is not available yet",
        "use standalone",
        core_errors.REFUSED,
    ),
    (
        refusal(
            422,
            "Invalid",
            "devservers.devservers.io \"x\" is forbidden: ValidatingAdmissionPolicy 'devservers.devservers.io' with "
            "binding 'devservers.devservers.io' denied request: flavor gpu is not among those allowed here; "
            "see `devctl flavors`",
        ),
        "flavor gpu is not among those allowed here",
        "see `devctl flavors`",
        core_errors.REFUSED,
    ),
    (
        refusal(
            403,
            "Forbidden",
            'persistentvolumeclaims "x" is forbidden: exceeded quota: dev-user, requested: requests.storage=9Ti,'
            "efs.storageclass.storage.k8s.io/requests.storage=9Ti, used: requests.storage=10Gi,"
            "efs.storageclass.storage.k8s.io/requests.storage=0, limited: requests.storage=500Gi,"
            "efs.storageclass.storage.k8s.io/requests.storage=1Ti",
        ),
        "(storage: 10Gi of 500Gi in use, 9Ti more asked; storage of class efs: 0 of 1Ti in use, 9Ti more asked)",
        "devctl delete NAME --purge",
        core_errors.REFUSED,
    ),
    (
        refusal(
            403,
            "Forbidden",
            'devservers.devservers.io "x" is forbidden: exceeded quota: dev-user, requested: '
            "count/devservers.devservers.io=1, used: count/devservers.devservers.io=3, "
            "limited: count/devservers.devservers.io=3",
        ),
        "exceed your quota (servers: 3 of 3 in use, 1 more asked)",
        "delete a server, stopped ones count too",
        core_errors.REFUSED,
    ),
    (
        refusal(
            403,
            "Forbidden",
            'devservers.devservers.io is forbidden: User "ann" cannot create resource "devservers" in API group '
            '"devservers.io" in the namespace "dev-bob"',
        ),
        "could not create mydev: ann may not create devservers in namespace dev-bob",
        "devctl info",
        core_errors.FORBIDDEN,
    ),
    (
        refusal(404, "NotFound", 'namespaces "dev-x" not found', name="dev-x", kind="namespaces"),
        "there is no namespace dev-x",
        "--user",
        core_errors.NOT_FOUND,
    ),
    (
        refusal(404, "NotFound", "the server could not find the requested resource"),
        "does not have the devservers.io kinds",
        "make up",
        core_errors.NOT_FOUND,
    ),
    (
        refusal(409, "AlreadyExists", 'devservers.devservers.io "mydev" already exists', name="mydev"),
        "mydev exists already",
        "another name",
        core_errors.FAILURE,
    ),
    (refusal(401, "Unauthorized", "Unauthorized"), "credentials", "log in again", core_errors.FORBIDDEN),
    (refusal(500, "InternalError", "etcd is\nsad"), "etcd is sad", "test-k8s", core_errors.FAILURE),
]


@pytest.mark.parametrize(("failure", "what", "remedy", "code"), CASES)
def test_from_api_refusal_becomes_what_and_remedy(
    failure: core_errors.CommandError, what: str, remedy: str, code: int
) -> None:
    assert what in failure.what
    assert remedy in failure.remedy
    assert failure.code == code
    assert "\n" not in failure.what + failure.remedy
