"""Invariant: every name two parts of the system must agree on is spelled once, here.

Also the base of all models: camelCase outside and snake_case inside, frozen, and unknown fields are ignored,
because an object written for a newer CRD must not stop an older operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from devservers.api.errors import InvalidObject

GROUP = "devservers.io"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "devservers"
OPERATOR = "devservers-operator"
SYSTEM_NAMESPACE = "devservers-system"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = f"{GROUP}/name"
LABEL_USER = f"{GROUP}/user"
# Existing tooling selects user namespaces by these two, so their prefix is not ours to choose.
LABEL_NAMESPACE_USER = "devserver.io/user"
LABEL_NAMESPACE_CREATED_BY = "devserver.io/created-by"

ANNOTATION_ALLOWED_FLAVORS = f"{GROUP}/allowed-flavors"
ANNOTATION_ALLOWED_REGISTRIES = f"{GROUP}/allowed-registries"
"""On a user's namespace, with commas between: what images of their own may come from (api/registries.py)."""
ANNOTATION_HOME_QUOTA = f"{GROUP}/home-quota"
"""On a user's ResourceQuota: which of its entries homes count against."""
ANNOTATION_STARTED_AT = f"{GROUP}/started-at"
ANNOTATION_RESTARTED_AT = f"{GROUP}/restarted-at"
"""On a DevServer, RFC 3339: any new value starts the server anew, with all that changed meanwhile."""
ANNOTATION_USER_UID = f"{GROUP}/user-uid"
"""On a user's namespace: the owner of the homes in it, which may outlive everything else the platform has."""
ANNOTATION_USER_OBJECT = f"{GROUP}/user-object"
"""On a user's namespace: metadata.uid of the DevServerUser it was set up for. Another one of the same name is another
person, who gets the homes in it and none of the servers."""
ANNOTATION_INSTANCE_TYPE = f"{GROUP}/instance-type"
"""On a flavor of a pool of cloud machines, for people to choose by; with the three that follow."""
ANNOTATION_GPU_MODEL = f"{GROUP}/gpu-model"
ANNOTATION_GPU_MEMORY = f"{GROUP}/gpu-memory"
"""Of one GPU, like `24Gi`."""
ANNOTATION_CAPACITY = f"{GROUP}/capacity"
"""How its machines are bought: ON_DEMAND, SPOT or CAPACITY_BLOCK."""
ANNOTATION_OVERCOMMIT = f"{GROUP}/overcommit"
"""On a flavor, like `cpu=4,memory=1`: its requests were divided by these, as the cluster's resources are given out so
many times over."""
ANNOTATION_HOME_OF = f"{GROUP}/home-of"
ANNOTATION_INPUT_HASH = f"{GROUP}/input-hash"
ANNOTATION_TEMPLATE = f"{GROUP}/template"

BASTION_NAMESPACE = "devservers-bastion"
BASTION_ACCOUNT = "bastion"
"""Service account of the bastion's pods; only keysync and the broker in them have its token."""
PERSON_ACCOUNT = "devctl"
"""Service account in each user's namespace that stands for its person, when they come through the bastion. Its name is
the same everywhere, so that one ClusterRole can name it: RBAC knows no variables."""
PERSON_TOKEN_ROLE = "devservers-person-token"
"""ClusterRole of the bastion in each user's namespace: a token for PERSON_ACCOUNT there, and nothing else."""
USER_ROLE = "dev-user"
"""ClusterRole of a person in their own namespace."""
TENANT_ROLE = "devservers-operator-tenant"
"""ClusterRole of the operator in each user's namespace."""

REGISTRY_SECRET_PREFIX = "registry-"
"""Of the Secrets with a person's logins to image registries: the only ones that people write."""
PLATFORM_REGISTRY_PREFIX = "platform-registry-"
"""Of the copies of the platform's own logins in each user's namespace."""
SECRET_TYPE_REGISTRY = "kubernetes.io/dockerconfigjson"
REGISTRIES = "registries"
"""ConfigMap in each user's namespace: where its person has logged in, as devctl notes it."""

MAIN_CONTAINER = "dev"
SSH_PORT = 22
"""Of the Service; the pod's own is above 1024, because nothing in it runs as root."""
SSH_POD_PORT = 2222
ANY_FLAVOR = "*"
NAMESPACE_PREFIX = "dev-"
HOME_PATH = "/home/dev"
SHARED_PATH = "/shared"
TMP_PATH = "/tmp"
FIRST_UID = 20000

_ALIASES = {"enable_ssh": "enableSSH"}


def namespace_of(user: str) -> str:
    """The namespace of a user's servers: `ann` has `dev-ann`."""
    return f"{NAMESPACE_PREFIX}{user}"


def user_of(namespace: str) -> str | None:
    """The user whose namespace this is by its name, None when it is nobody's: `dev-ann` is ann's."""
    user = namespace.removeprefix(NAMESPACE_PREFIX)
    return user if user and user != namespace else None


class Model(BaseModel):
    """A part of an API object: immutable, camelCase on the wire, unknown fields ignored."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        extra="ignore",
        populate_by_name=True,
        alias_generator=lambda name: _ALIASES.get(name) or to_camel(name),
    )

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape, camelCase, without the fields that were never set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class Metadata(Model):
    """The parts of ObjectMeta that decisions are made from."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """One printer column of `kubectl get`; priority 1 shows it with `-o wide` only."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Names:
    """How a kind is called in the API."""

    kind: str
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def crd(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


class Resource(Model):
    """A whole API object. Subclasses say what `spec` and `status` are and how the kind is called."""

    names: ClassVar[Names]

    metadata: Metadata

    @classmethod
    def parse(cls, manifest: Mapping[str, Any]) -> Self:
        """The object in a manifest. Raises InvalidObject, one line, when it doesn't fit the model."""
        try:
            return cls.model_validate(manifest)
        except ValidationError as error:
            raise InvalidObject.of(cls.names.kind, error) from None

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    def manifest(self) -> dict[str, Any]:
        """The object as it would be written to the API server, without what was never set."""
        return {"apiVersion": API_VERSION, "kind": self.names.kind} | self.to_dict()
