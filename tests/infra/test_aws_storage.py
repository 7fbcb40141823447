"""Storage on AWS: EFS, EBS storage classes, encryption and protection."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from devservers.api.admission.claims import MAX_SHARED_CLAIM_CHARACTERS
from infra.aws.addons import csi
from infra.preview.graph import Graph
from tests.support.infra.aws_graph import PROD, ZONES, by_name, part, recorded, settings
from tests.support.infra.iam import documents, faults


@pytest.mark.parametrize("component", ["Storage", "Edge", "Registry", "Access", "Logs", "Observability", "Boundary"])
def test_preview_of_dev_shows_every_resource(dev: Graph, dev_preview: Graph, component: str) -> None:
    known = part(dev, component)
    assert known
    assert set(known) == set(part(dev_preview, component))


@pytest.mark.parametrize(
    "component", ["Storage", "Backup", "Edge", "Registry", "Access", "Logs", "Observability", "Boundary"]
)
def test_preview_of_prod_shows_every_resource(prod: Graph, prod_preview: Graph, component: str) -> None:
    known = part(prod, component)
    assert known
    assert set(known) == set(part(prod_preview, component))


def test_resources_use_no_default_provider(prod: Graph) -> None:
    assert [node.name for node in prod.values() if "default" in node.provider] == []


def test_file_system_is_encrypted_with_the_data_key(dev: Graph) -> None:
    system = part(dev, "Storage").one("FileSystem").inputs
    assert system["encrypted"] is True
    assert system["kmsKeyId"] == "arn:aws:kms:eu-central-1:111122223333:data"
    assert (system["throughputMode"], system["performanceMode"]) == ("elastic", "generalPurpose")
    assert [set(rule) for rule in system["lifecyclePolicies"]] == [
        {"transitionToIa"},
        {"transitionToArchive"},
        {"transitionToPrimaryStorageClass"},
    ]


def test_file_system_is_protected_in_prod_only(dev: Graph, prod: Graph) -> None:
    assert [(node.protect, node.retain) for node in prod.of("FileSystem")] == [(True, True)]
    assert [(node.protect, node.retain) for node in dev.of("FileSystem")] == [(False, False)]
    assert prod.one("BackupPolicy").inputs["backupPolicy"] == {"status": "ENABLED"}


def test_file_system_has_a_mount_target_per_zone(prod: Graph) -> None:
    targets = by_name(part(prod, "Storage"), "MountTarget")
    assert set(targets) == {f"shared-{zone}" for zone in ZONES}
    for zone in ZONES:
        assert targets[f"shared-{zone}"].inputs["subnetId"] == f"private-{zone}-id"
        assert targets[f"shared-{zone}"].inputs["securityGroups"] == ["efs-id"]


def test_file_system_admits_nfs_from_nodes_only(dev: Graph) -> None:
    storage = part(dev, "Storage")
    rule = storage.one("SecurityGroupIngressRule").inputs
    assert rule["referencedSecurityGroupId"] == "sg-cluster"
    assert (rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (2049, 2049, "tcp")
    assert "cidrIpv4" not in rule
    group = storage.one("SecurityGroup").inputs
    assert not {"ingress", "egress"} & set(group), "the rules are resources of their own"


DRIVER = "arn:aws:iam::111122223333:role/devservers-dev-efs-csi-node"


def test_file_system_policy_allows_the_driver_through_access_points_only(dev: Graph) -> None:
    """Every pod reaches the mount targets: what keeps it out is that it is not the driver."""
    policy = documents(part(dev, "Storage"))["FileSystemPolicy shared.policy"]
    assert faults(policy) == []
    allow, *deny = policy["Statement"]
    assert allow["Principal"] == {"AWS": DRIVER}
    assert allow["Action"] == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    assert allow["Condition"] == {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}
    for statement in deny:
        assert statement["Effect"] == "Deny"
        assert statement["Principal"] == {"AWS": "*"}
        assert set(statement["Action"]) == {*allow["Action"], "elasticfilesystem:ClientRootAccess"}
    assert [statement["Condition"] for statement in deny] == [
        {"ArnNotEquals": {"aws:PrincipalArn": DRIVER}},
        {"Null": {"elasticfilesystem:AccessPointArn": "true"}},
        {"Bool": {"aws:SecureTransport": "false"}},
    ]


def test_storage_class_for_homes_is_default_and_encrypted(dev: Graph) -> None:
    classes = by_name(dev, "StorageClass")
    gp3, efs = classes["gp3"].inputs, classes["efs"].inputs
    default = "storageclass.kubernetes.io/is-default-class"
    assert gp3["metadata"]["annotations"] == {default: "true"}
    assert default not in efs["metadata"].get("annotations", {})
    assert gp3["parameters"]["encrypted"] == "true"
    assert gp3["parameters"]["kmsKeyId"] == "arn:aws:kms:eu-central-1:111122223333:data"
    assert gp3["parameters"]["type"] == "gp3"
    assert (gp3["volumeBindingMode"], gp3["allowVolumeExpansion"]) == ("WaitForFirstConsumer", True)
    assert (efs["parameters"]["provisioningMode"], efs["parameters"]["fileSystemId"]) == ("efs-ap", "shared-id")
    # An access point's path has 100 characters at most; what admission lets namespace and claim have fits.
    longest = efs["parameters"]["basePath"] + "/" + "n" * (MAX_SHARED_CLAIM_CHARACTERS - 1) + "/c-" + str(UUID(int=0))
    assert efs["parameters"]["subPathPattern"] == "${.PVC.namespace}/${.PVC.name}"
    assert len(longest) == 100
    assert efs["mountOptions"] == ["tls", "iam"], "without an identity the policy lets nobody mount it"


def test_storage_classes_depend_on_mount_targets_and_cluster(dev: Graph) -> None:
    classes = by_name(dev, "StorageClass")
    before = {dev[urn].name for urn in dev.before(classes["efs"])}
    assert {"shared-eu-central-1a", "shared-eu-central-1b", "shared"} <= before
    for storage_class in classes.values():
        # What the component was told to wait for stands before its objects, too.
        assert any("Logs" in urn for urn in dev.before(storage_class))
        assert storage_class.deleted_with.endswith("::cluster")
        assert "devservers:aws:Cluster$pulumi:providers:kubernetes::cluster" in storage_class.provider


def test_storage_without_shared_files_has_no_file_system() -> None:
    graph = recorded(settings(PROD, storage={"shared": False}), stack="prod")
    assert [node.name for node in graph.of("StorageClass")] == ["gp3"]
    assert not graph.of("FileSystem")
    assert not graph.of("MountTarget")
    assert "files-busy" not in by_name(graph, "MetricAlarm")


def test_file_system_backup_can_be_disabled() -> None:
    graph = recorded(settings(storage={"backup": False}))
    assert graph.one("BackupPolicy").inputs["backupPolicy"] == {"status": "DISABLED"}
    assert json.dumps(graph.one("FileSystem").inputs)


def test_homes_are_copied_daily_in_prod_and_not_in_dev(dev: Graph, prod: Graph) -> None:
    """The default by environment; a copy ends after the stack's days and is tagged as the stack's."""
    assert not [node for node in dev.values() if "backup" in node.type.lower() and "efs" not in node.type]
    (rule,) = part(prod, "Backup").one("Plan").inputs["rules"]
    assert rule["schedule"] == "cron(0 2 * * ? *)"
    assert rule["lifecycle"] == {"deleteAfter": 14}
    assert rule["recoveryPointTags"] == {"Stack": "prod"}


@pytest.mark.parametrize(("days", "made"), [(0, 0), (90, 1)])
def test_copies_of_homes_last_as_long_as_the_stack_says(days: int, made: int) -> None:
    graph = recorded(settings(PROD, storage={"homeBackupDays": days}), stack="prod")
    plans = graph.of("Plan")
    assert [node.inputs["rules"][0]["lifecycle"]["deleteAfter"] for node in plans] == [days] * made
    assert len(graph.of("Vault")) == len(graph.of("Selection")) == made


def test_selection_takes_volumes_of_the_driver_and_of_this_stack_only(prod: Graph) -> None:
    """By the tags that the CSI driver puts on what it makes: the add-on is told the environment's own."""
    selection = part(prod, "Backup").one("Selection").inputs
    assert selection["resources"] == ["arn:aws:ec2:eu-central-1:111122223333:volume/*"]
    assert "selectionTags" not in selection, "one of them would be enough"
    (conditions,) = selection["conditions"]
    assert conditions == {
        "stringEquals": [
            {"key": "aws:ResourceTag/Stack", "value": "prod"},
            {"key": "aws:ResourceTag/ebs.csi.aws.com/cluster", "value": "true"},
        ]
    }
    assert csi.disks("prod", settings(PROD))["controller"]["extraVolumeTags"]["Stack"] == "prod"


def test_backup_role_reads_and_deletes_what_is_the_stacks_only(prod: Graph) -> None:
    found = documents(part(prod, "Backup"))
    trust, rights = found["Role backup.assumeRolePolicy"], found["RolePolicy backup.policy"]
    assert faults(trust) == faults(rights) == []
    (taken,) = trust["Statement"]
    assert taken["Principal"] == {"Service": "backup.amazonaws.com"}
    assert taken["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}
    ours = {"StringEquals": {"aws:ResourceTag/Stack": "prod"}}
    by_action = {str(each["Action"]): each for each in rights["Statement"]}
    # The role may tag any snapshot, so the stack's tag alone would let it delete any.
    made_by_backup = {"Null": {"aws:ResourceTag/aws:backup:source-resource": "false"}}
    assert by_action["ec2:DeleteSnapshot"]["Condition"] == ours | made_by_backup
    assert by_action["ec2:CreateSnapshot"]["Condition"] == ours
    assert by_action["kms:CreateGrant"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    everywhere = [each for each in rights["Statement"] if each["Resource"] == "*"]
    assert [each["Action"] for each in everywhere] == [
        ["ec2:DescribeSnapshots", "ec2:DescribeTags", "ec2:DescribeVolumes", "tag:GetResources"]
    ]


def test_vault_is_encrypted_and_protected_in_prod() -> None:
    for environment, keep in ((PROD, True), (PROD | {"environment": "staging"}, False)):
        vault = recorded(settings(environment), stack="prod").one("Vault")
        assert vault.inputs["kmsKeyArn"] == "arn:aws:kms:eu-central-1:111122223333:data"
        assert vault.inputs["forceDestroy"] is not keep
        assert (vault.protect, vault.retain) == (keep, keep)


def test_snapshot_class_is_of_the_driver_that_homes_have(dev: Graph) -> None:
    """`devctl volume snapshot` takes the class whose driver is the provisioner of the volume's StorageClass."""
    snapshots, gp3 = dev.one("VolumeSnapshotClass").inputs, by_name(dev, "StorageClass")["gp3"].inputs
    assert snapshots["driver"] == gp3["provisioner"]
    assert snapshots["deletionPolicy"] == "Delete"
