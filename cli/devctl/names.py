"""The names and rules devctl shares with the API, repeated because devctl must not import the operator.

Invariant: every constant and pattern here equals its twin in devservers.api (tests/unit/cli/test_names.py
holds them together); a rule may be looser here than in the API, never stricter.
"""

from __future__ import annotations

GROUP = "devservers.io"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_NAME = f"{GROUP}/name"
LABEL_USER = f"{GROUP}/user"
ANNOTATION_STARTED_AT = f"{GROUP}/started-at"
ANNOTATION_RESTARTED_AT = f"{GROUP}/restarted-at"
ANNOTATION_HOME_OF = f"{GROUP}/home-of"
ANNOTATION_HOME_QUOTA = f"{GROUP}/home-quota"
ANNOTATION_ALLOWED_FLAVORS = f"{GROUP}/allowed-flavors"
ANNOTATION_INSTANCE_TYPE = f"{GROUP}/instance-type"
ANNOTATION_GPU_MODEL = f"{GROUP}/gpu-model"
ANNOTATION_GPU_MEMORY = f"{GROUP}/gpu-memory"
ANNOTATION_CAPACITY = f"{GROUP}/capacity"
ANNOTATION_OVERCOMMIT = f"{GROUP}/overcommit"
LABEL_POOL = f"{GROUP}/pool"

KUEUE_API_VERSION = "kueue.x-k8s.io/v1beta2"
VISIBILITY_API_VERSION = "visibility.kueue.x-k8s.io/v1beta2"
QUEUE = "interactive"  # where servers wait whose flavor names no queue
GPU = "nvidia.com/gpu"

SYSTEM_NAMESPACE = "devservers-system"
BASTION_NAMESPACE = "devservers-bastion"
OPERATOR = "devservers-operator"
REGISTRY_SECRET_PREFIX = "registry-"
SECRET_TYPE_REGISTRY = "kubernetes.io/dockerconfigjson"
REGISTRIES = "registries"
NAMESPACE_PREFIX = "dev-"
ANY_FLAVOR = "*"

NAME_PATTERN = r"^[a-z][a-z0-9-]*[a-z0-9]$"
SERVER_NAME_MAX = 40
USER_NAME_MAX = 31

CONTAINER = "dev"
HOME = "/home/dev"
LOGIN = "dev"
SSH_PORT = 2222
SERVICE_PORT = 22
CLUSTER_DOMAIN = "svc.cluster.local"
SHARED_PATH = "/shared"
RESERVED_ENV_PREFIX = "DEVSERVERS_"
OWN_ENV = ("HOME", "USER", "LOGNAME", "SHELL")
RESERVED_PATHS = ("/proc", "/sys", "/dev", "/etc", "/opt/devservers", "/run/devservers")
MAX_VOLUMES = 16

DEFAULT_FLAVOR = "cpu-small"
DEFAULT_HOME_SIZE = "10Gi"
HOST_SUFFIX = ".devserver"  # what a person types after ssh or scp: mydev.devserver

KEEPALIVE = {"ServerAliveInterval": "30", "ServerAliveCountMax": "4"}
"""ssh's options with which a connection that is dead ends after two minutes, and an idle one is kept open."""

# The order in which a server becomes usable (rulings.md 13). Queued and Admitted appear only with a queue.
STAGES = (
    "Accepted",
    "Queued",
    "Admitted",
    "Scheduled",
    "VolumesReady",
    "ImagePulled",
    "ContainerStarted",
    "SSHReady",
)


def namespace_of(user: str) -> str:
    """The namespace of a user: `ann` -> `dev-ann`."""
    return NAMESPACE_PREFIX + user


def home_claim(server: str) -> str:
    """The PersistentVolumeClaim of a server's home: `mydev` -> `mydev-home`."""
    return f"{server}-home"


def host_of(server: str, user: str) -> str:
    """What a server is called inside the cluster; the bastion lets tunnels through to exactly this name."""
    return f"{server}.{namespace_of(user)}.{CLUSTER_DOMAIN}"
