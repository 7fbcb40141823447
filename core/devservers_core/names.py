"""Names that parts of the platform share, and fixed limits.

Invariant: a name that two parts must agree on is written here and nowhere else (tests/unit/core/test_one_copy.py).
"""

from __future__ import annotations

GROUP = "devservers.io"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

# Accounts and namespaces of the platform

FIELD_MANAGER = "devservers"
OPERATOR = "devservers-operator"
"""Service account of the operator, and the value of LABEL_MANAGED_BY on what it makes."""
SYSTEM_NAMESPACE = "devservers-system"
BASTION = "devservers-bastion"
"""What the bastion's pods, ClusterRole and bindings are called."""
BASTION_NAMESPACE = BASTION
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

# Labels

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_APP = "app.kubernetes.io/name"
LABEL_NAME = f"{GROUP}/name"
LABEL_ENDED = f"{GROUP}/ended"
"""With "true" on the ConfigMap about the last end of the server that LABEL_NAME names."""
LABEL_USER = f"{GROUP}/user"
LABEL_POOL = f"{GROUP}/pool"
"""On nodes: the pool they belong to. A ResourceFlavor selects by it, a DevServerFlavor of the pool too. On headroom and
pre-pulls: the pool they are for."""
LABEL_HEADROOM = f"{GROUP}/headroom"
"""On a Deployment of placeholders and its pods: the flavor they keep room for. LABEL_POOL says where."""
LABEL_PRE_PULL = f"{GROUP}/pre-pull"
"""On a DaemonSet that pulls images ahead, and its pods: "true". LABEL_POOL says on whose nodes."""
LABEL_SCRAPE = f"{GROUP}/scrape"
"""A namespace labelled so with "true" may read the operator's metrics."""
# Existing tooling selects user namespaces by these two, so their prefix is not ours to choose.
LABEL_NAMESPACE_USER = "devserver.io/user"
LABEL_NAMESPACE_CREATED_BY = "devserver.io/created-by"

# Annotations

ANNOTATION_ALLOWED_FLAVORS = f"{GROUP}/allowed-flavors"
ANNOTATION_ALLOWED_REGISTRIES = f"{GROUP}/allowed-registries"
"""On a user's namespace, with commas between: what images of their own may come from (api/registries.py)."""
ANNOTATION_HOME_QUOTA = f"{GROUP}/home-quota"
"""On a user's ResourceQuota: which of its entries homes count against."""
ANNOTATION_SHARED_CLASS = f"{GROUP}/shared-class"
"""On a user's namespace: the StorageClass of volumes that many servers mount, where the cluster has one."""
ANNOTATION_LAST_USED = f"{GROUP}/last-used"
"""On the claim of a home: the last day, in UTC, on which its server ran."""
ANNOTATION_STARTED_AT = f"{GROUP}/started-at"
ANNOTATION_RESTARTED_AT = f"{GROUP}/restarted-at"
"""On a DevServer, RFC 3339: any new value starts the server anew, with all that changed meanwhile."""
ANNOTATION_USER_UID = f"{GROUP}/user-uid"
"""On a user's namespace: the owner of the homes in it, which may outlive everything else the platform has."""
ANNOTATION_TIME_ZONE = f"{GROUP}/time-zone"
"""On a user's namespace: the zone of the times of day that they give, like `Europe/Berlin`."""
ANNOTATION_USER_LIMITS = f"{GROUP}/lifecycle-limits"
"""On a user's namespace: spec.lifecycle of their DevServerUser, as JSON."""
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
ANNOTATION_ZONES = f"{GROUP}/zones"
"""On a flavor of a pool of cloud machines: the zones that have them, with commas between."""
ANNOTATION_ARCHITECTURE = f"{GROUP}/architecture"
"""On the same: amd64 or arm64."""
ANNOTATION_OVERCOMMIT = f"{GROUP}/overcommit"
"""On a flavor, like `cpu=4,memory=1`: its requests were divided by these, as the cluster's resources are given out so
many times over."""
ANNOTATION_VERSION = f"{GROUP}/version"
"""On a stack's flavors, which everybody may read: the version of the program that made them."""
ANNOTATION_STACK = f"{GROUP}/stack"
"""On a DevServerUser that a stack manages: the stack's name."""
ANNOTATION_HOME_OF = f"{GROUP}/home-of"
ANNOTATION_INPUT_HASH = f"{GROUP}/input-hash"
ANNOTATION_TEMPLATE = f"{GROUP}/template"
ANNOTATION_DEFAULTS = f"{GROUP}/defaults"
ANNOTATION_RUNNING_SINCE = f"{GROUP}/running-since"
"""On a server's Deployment: the flavor's lifecycle defaults as they were at the last start, as JSON."""
ANNOTATION_FLAVOR_HASH = f"{GROUP}/flavor-hash"
ANNOTATION_APPLIED = f"{GROUP}/applied"

# Objects that one part makes and another reads

USER_CA_SECRET, USER_CA_ENTRY = "user-ca", "ca"
"""Secret of SYSTEM_NAMESPACE: the CA that signs people's certificates, and the entry with its private key."""
HOST_CA_SECRET = "host-ca"
"""Secret of SYSTEM_NAMESPACE: the CA that signs host certificates."""
BASTION_HOST_KEY = "bastion-host-key"
"""Secret of BASTION_NAMESPACE: the bastion's host key and its certificate."""
AGENT_KEY_SECRET, AGENT_KEY_ENTRY = "agent-signing-key", "key"
"""Secret of SYSTEM_NAMESPACE: the Ed25519 key that signs plans for agents, and its entry with the private key."""
AGENT_PUBLIC_KEY_FILE = "agent.pub"
"""In a server's keys: the public half, 32 bytes in base64 on one line."""
BASTION_INFO, HOST_CA_ENTRY = "bastion-info", "host_ca.pub"
"""ConfigMap of BASTION_NAMESPACE that everybody may read, and its entry with the host CA's public key."""
BASTION_SETTINGS = "bastion-settings"
"""ConfigMap of BASTION_NAMESPACE: what the stack tells sessions."""
BASTION_AUDIT_CONTAINER = "audit"
HOST_KEY_FILE = "ssh_host_ed25519_key"
HOST_KEY_PUBLIC_FILE = f"{HOST_KEY_FILE}.pub"
HOST_CERTIFICATE_FILE = f"{HOST_KEY_FILE}-cert.pub"
"""A host key, its public half and its certificate: entries of a Secret, and files that sshd reads."""
REGISTRY_SECRET_PREFIX = "registry-"
"""Of the Secrets with a person's logins to image registries: the only ones that people write."""
PLATFORM_REGISTRY_PREFIX = "platform-registry-"
"""Of the copies of the platform's own logins in each user's namespace."""
SECRET_TYPE_REGISTRY, REGISTRY_ENTRY = "kubernetes.io/dockerconfigjson", ".dockerconfigjson"
"""Type of a Secret with a login to a registry, and its one entry."""
REGISTRIES = "registries"
"""ConfigMap in each user's namespace: where its person has logged in, as devctl notes it."""
USER_SECRET_PREFIX, SECRET_TYPE_USER = "user-secret-", f"{GROUP}/user"
"""Name and type of the Secrets with values that a person keeps for their servers; they can't read them back."""
USER_SECRETS = "secrets"
"""ConfigMap in each user's namespace: names, keys and times of their secrets; the operator keeps it."""
DEFAULT_SECRET_KEY = "value"
"""The key of a secret that has one value."""
SETUP = "setup"
"""ConfigMap in each user's namespace: the set-up of all their servers, which its person writes."""
SETUP_DEFAULT = "setup-default"
"""ConfigMap in each user's namespace: what their administrator gives them for a set-up; the entries of SETUP win."""
SETUP_DOTFILES, SETUP_BRANCH, SETUP_SCRIPT = "dotfiles", "dotfiles-branch", "script"
"""Entries of both, and the files that the agent reads (images/agent/internal/setup)."""
SETUP_SECRETS = "secrets"
"""Entry of both: references to secrets (setup_secrets.py), which the operator reads when a server starts."""
SERVER_COUNT = "count/devservers.devservers.io"
"""The key of a ResourceQuota that counts servers, stopped ones included."""
SNAPSHOT_COUNT = "count/volumesnapshots.snapshot.storage.k8s.io"
"""The key of a ResourceQuota that counts snapshots of volumes."""

MANAGED_BY_STACK, MANAGED_BY_COMMAND, MANAGED_BY_IDENTITY = "stack", "command", "identity"
MANAGERS = (MANAGED_BY_STACK, MANAGED_BY_COMMAND, MANAGED_BY_IDENTITY)
"""spec.managedBy of a DevServerUser: each source changes only the people it manages."""

# A user's namespace and what is in it

NAMESPACE_PREFIX = "dev-"
ANY_FLAVOR = "*"
DEFAULT_FLAVOR = "cpu-small"
CLUSTER_DOMAIN = "cluster.local"
SERVICE_DOMAIN = f"svc.{CLUSTER_DOMAIN}"

LOCAL_IMAGES = "localhost/devservers"
"""Prefix of the images that `make up` builds and puts on the nodes, which ask a registry only for others."""

# Inside a server

MAIN_CONTAINER = "dev"
LOGIN = "dev"
"""The one account of a dev server, in every image."""
SSH_PORT = 22
"""Of the Service; the pod's own is above 1024, because nothing in it runs as root."""
SSH_POD_PORT = 2222
AGENT_PORT, AGENT_PORT_NAME = 2224, "agent"
"""Of the agent in each server; only the operator's and the monitoring namespaces reach it."""
HOME_PATH = "/home/dev"
SHARED_PATH = "/shared"
TMP_PATH = "/tmp"
SECRETS_PATH = "/etc/devservers/secrets"
"""Where secrets that a server has as files are mounted."""
SETUP_PATH = "/etc/devservers/setup"
"""Where the set-up is mounted."""
SETUP_LOG = "~/.local/state/devserver/setup.log"
"""What the steps of the set-up printed at the last start."""
RESERVED_PATHS = ("/proc", "/sys", "/dev", "/etc", "/opt/devservers", "/run/devservers")
"""Where the platform or the kernel has something mounted that a volume must not cover."""
RESERVED_ENV_PREFIX = "DEVSERVERS_"
ACCOUNT_ENV = ("HOME", "USER", "LOGNAME", "SHELL")
"""The account's variables, the same in every server."""
STAGES = (
    "Accepted", "Queued", "Admitted", "Scheduled",
    "VolumesReady", "ImagePulled", "ContainerStarted", "SSHReady",
)  # fmt: skip
"""In the order in which a server becomes usable. Queued and Admitted appear only with a queue."""

STOPPED_BY_USER = "user"
STOPPED_BY_EXPIRATION = "expired"
STOPPED_BY_IDLENESS = "idle"
STOPPED_BY_END_OF_HOLD = "holdEnded"
STOPPED_BY_WORKING_HOURS = "workingHours"
STOPPED_BY_PREEMPTION = "preempted"
STOPPED_BY_NODE_LOSS = "nodeLost"
STOPPED_BY_OUT_OF_MEMORY = "outOfMemory"
STOPPED_BY_FULL_DISK = "evictedForDisk"
STOPPED_BY_SUSPENSION = "suspended"
STOPPED_BY_BUDGET = "budget"
STOPPED_BY_DRAIN = "clusterDrained"
STOP_REASONS = (
    STOPPED_BY_USER, STOPPED_BY_EXPIRATION, STOPPED_BY_IDLENESS, STOPPED_BY_END_OF_HOLD, STOPPED_BY_WORKING_HOURS,
    STOPPED_BY_PREEMPTION, STOPPED_BY_NODE_LOSS, STOPPED_BY_OUT_OF_MEMORY, STOPPED_BY_FULL_DISK, STOPPED_BY_SUSPENSION,
    STOPPED_BY_BUDGET, STOPPED_BY_DRAIN,
)  # fmt: skip
"""Why a server ended: status.stopReason and status.lastStop.reason of a DevServer, all there are."""
RESTARTED = "restarted"
"""In the last plan of an agent whose pod a restart or an update of its server replaces; a status never has it."""
KUEUE_UNAVAILABLE = "KueueUnavailable"
"""Reason of the condition Admitted where no Kueue answers."""

# Kueue: two ClusterQueues of one cohort share what the cluster has. `interactive` owns it, `training` borrows what is
# idle and gives it back when a server wants it (reclaimWithinCohort). Every user's namespace has a LocalQueue of each,
# called as its ClusterQueue.

KUEUE = "kueue.x-k8s.io"
KUEUE_VERSION = "v1beta2"
KUEUE_API_VERSION = f"{KUEUE}/{KUEUE_VERSION}"
KUEUE_VISIBILITY = f"visibility.{KUEUE}"
KUEUE_VISIBILITY_API_VERSION = f"{KUEUE_VISIBILITY}/{KUEUE_VERSION}"
KUEUE_NAMESPACE = "kueue-system"
"""Its webhooks are known to break under another name (kubernetes-sigs/kueue#3794)."""
LABEL_QUEUE = f"{KUEUE}/queue-name"
"""On a pod's template: the LocalQueue its pods wait in. Without it Kueue leaves a pod alone."""
LABEL_PRIORITY = f"{KUEUE}/priority-class"
"""On the same template: a WorkloadPriorityClass."""
COHORT = "devservers"
INTERACTIVE = "interactive"
"""The queue of servers whose flavor names none."""
TRAINING = "training"
QUEUES = (INTERACTIVE, TRAINING)
"""Names of the ClusterQueues, and of the LocalQueues in each user's namespace."""
PRIORITY_INTERACTIVE = "dev-interactive"
PRIORITY_TRAINING = "training"
PRIORITY_BATCH = "batch"
PRIORITIES = {PRIORITY_INTERACTIVE: 1000, PRIORITY_TRAINING: 100, PRIORITY_BATCH: 10}
"""WorkloadPriorityClasses by name; who has more goes first, and may take from who has less."""
GPU = "nvidia.com/gpu"

# Fixed limits

TOKEN_TTL_SECONDS = 600
"""Lifetime of a token that the broker gives out: the least that the API server gives (TokenRequest)."""
CERTIFICATE_TTL_SECONDS = 300
"""Lifetime of a user certificate that the broker signs."""
FIRST_UID = 20000
"""People's uids begin here."""
MAX_KEYS_PER_LIST = 32
"""Of sshPublicKeys and of sshKeys each."""
MAX_VOLUMES = 16
MAX_REGISTRY_LOGINS = 64
"""Of one person: entries of the ConfigMap REGISTRIES."""
MAX_USER_SECRETS = 64
"""Of one person, by `devctl secret set`; the quota on Secrets counts them too."""
MAX_USER_SECRET_BYTES = 32768
"""Of all values of one secret together."""
MAX_SECRET_REFERENCES = 16
"""Of one server, of one person's set-up, and of one DevServerUser."""
MAX_SETUP_SCRIPT_BYTES = 32768
"""Of the script of a user's set-up."""
RESERVED_USER_NAMES = (
    "root", "admin", "administrator", "nobody", "nogroup", "sshd", "daemon", "system", "systemd", "default",
    "operator", "devserver", "devservers", "dev", "bin", "sys", "sync", "mail", "www-data", "backup", "sudo",
    "adm", "staff", "games", "man", "lp", "news", "uucp", "proxy", "list", "irc", "gnats", "messagebus", "polkitd",
)  # fmt: skip
"""Account names of images and of the platform: in a log or passwd file a person would be taken for one."""
RESERVED_USER_PREFIX = "kube-"


def is_reserved_user(name: str) -> bool:
    """Whether a user name is the platform's or the system's own."""
    return name in RESERVED_USER_NAMES or name.startswith(RESERVED_USER_PREFIX)


def namespace_of(user: str) -> str:
    """The namespace of a user's servers: `ann` has `dev-ann`."""
    return f"{NAMESPACE_PREFIX}{user}"


def user_of(namespace: str) -> str | None:
    """The user whose namespace this is by its name, None when it is nobody's: `dev-ann` is ann's."""
    user = namespace.removeprefix(NAMESPACE_PREFIX)
    return user if user and user != namespace else None


def home_name(server: str) -> str:
    """The PersistentVolumeClaim of a server's home: `mydev` has `mydev-home`."""
    return f"{server}-home"


def ended_name(server: str) -> str:
    """The ConfigMap about a server's last end: `mydev` has `mydev-ended`."""
    return f"{server}-ended"


def host_of(server: str, user: str, domain: str = CLUSTER_DOMAIN) -> str:
    """What a server is called inside the cluster.

    The bastion lets tunnels through to exactly this name.
    """
    return f"{server}.{namespace_of(user)}.svc.{domain}"
