"""The restore of a home from a copy, by the very objects of docs/guides/back-up-homes.md."""

from __future__ import annotations

import re

import yaml

from infra import ROOT
from tests.support.cluster.client import Client

PAGE = ROOT / "docs" / "guides" / "back-up-homes.md"


def test_restore_objects_of_the_page_are_accepted_and_name_each_other(admin: Client, namespace: str) -> None:
    """What Kubernetes joins a disk and a claim by; no volume controller runs here that would."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    volume, claim = yaml.safe_load_all(text.replace("dev-ann", namespace).replace("restored-ann", namespace))
    try:
        stored = admin.create(volume)["spec"]
        made = admin.create(claim)
    finally:
        admin.delete("v1", "PersistentVolume", volume["metadata"]["name"])
    assert (stored["claimRef"]["namespace"], stored["claimRef"]["name"]) == (namespace, claim["metadata"]["name"])
    assert made["spec"]["volumeName"] == volume["metadata"]["name"]
    same = {"capacity": made["spec"]["resources"]["requests"], "accessModes": made["spec"]["accessModes"]}
    assert {key: stored[key] for key in same} == same
    assert stored["storageClassName"] == made["spec"]["storageClassName"]
    assert stored["persistentVolumeReclaimPolicy"] == "Retain", "the disk outlives the claim"
