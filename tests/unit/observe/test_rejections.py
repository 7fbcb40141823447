"""Rejections of the API server: a reason that says what to do, or a retry."""

from __future__ import annotations

import pytest

from devservers.observe.rejections import child_rejection, home_rejection

QUOTA = (
    'persistentvolumeclaims "a-home" is forbidden: exceeded quota: dev-user, requested: '
    "persistentvolumeclaims=1,requests.storage=100Gi, used: persistentvolumeclaims=7,requests.storage=450Gi, limited: "
    "persistentvolumeclaims=100,requests.storage=500Gi"
)
LIMIT = (
    'persistentvolumeclaims "a-home" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Ti, but request '
    "is 500Ti"
)
LATER = [
    "forbidden: status unknown for quota: dev-user, resources: requests.storage",
    'deployments.apps is forbidden: User "system:serviceaccount:a:b" cannot create resource "deployments" in API group',
    'deployments.apps "a" is forbidden: unable to create new content in namespace dev-a because it is being terminated',
]


def test_home_rejection_beyond_the_quota_has_its_numbers() -> None:
    why = home_rejection(403, QUOTA)
    assert why is not None
    assert why.reason == "QuotaExceeded"
    assert why.message.startswith(
        "Its home asks for 100Gi; 450Gi of the 500Gi that all your volumes may have are taken"
    )
    assert "`devctl delete NAME --purge`" in why.message


def test_home_rejection_above_the_largest_size_has_both_sizes() -> None:
    why = home_rejection(403, LIMIT)
    assert why is not None
    assert why.reason == "QuotaExceeded"
    assert why.message.startswith("Its home asks for 500Ti, and a volume may have 1Ti at most.")


def test_rejection_of_an_invalid_object_has_the_api_servers_message() -> None:
    text = 'Deployment.apps "big" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes'
    for why in (child_rejection(422, text), home_rejection(422, text)):
        assert why is not None
        assert why.reason == "InvalidSpec"
        assert "metadata.annotations: Too long" in why.message
        assert "Correct" in why.message
    assert child_rejection(413, "limit is 3145728") is not None


def test_child_rejection_by_a_policy_is_pod_refused() -> None:
    why = child_rejection(403, 'admission webhook "guard" denied the request: no')
    assert why is not None
    assert why.reason == "PodRefused"


@pytest.mark.parametrize("text", LATER)
def test_rejection_that_is_transient_is_none(text: str) -> None:
    assert child_rejection(403, text) is None
    assert home_rejection(403, text) is None


@pytest.mark.parametrize("status", [0, 409, 429, 500, 503])
def test_rejection_of_a_failed_request_is_none(status: int) -> None:
    assert child_rejection(status, "x") is None
    assert home_rejection(status, QUOTA) is None
