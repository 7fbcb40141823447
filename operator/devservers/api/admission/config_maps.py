"""The admission policy on ConfigMaps that the operator makes and users write.

They are notes of what a user keeps in Secrets, which can't be read back, and the set-up of their servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devservers.api.policy import (
    A_CONTROLLER,
    FINALIZERS,
    USER_NAMESPACES,
    forbidden,
    no_new_finalizers,
    small_metadata,
    validating_policy,
)
from devservers_core.grammar import GIT_BRANCH, GIT_BRANCH_MAX, GIT_URL, GIT_URL_MAX
from devservers_core.names import (
    ACCOUNT_ENV,
    GROUP,
    MAX_REGISTRY_LOGINS,
    MAX_SECRET_REFERENCES,
    MAX_SETUP_SCRIPT_BYTES,
    REGISTRIES,
    REGISTRY_SECRET_PREFIX,
    RESERVED_ENV_PREFIX,
    SETUP,
    SETUP_BRANCH,
    SETUP_DOTFILES,
    SETUP_SCRIPT,
    SETUP_SECRETS,
)
from devservers_core.setup_secrets import MAX_SETUP_SECRETS_BYTES, SETUP_SECRET

CONFIG_MAP_POLICY = f"devservers-registry-notes.{GROUP}"
"""Its name is from when there were notes of logins only; under another name the former one would stay in force until
somebody deletes it."""
MAX_NOTE_CHARACTERS = 1024
"""Of what is noted about a login: registry, user name and time."""


@dataclass(frozen=True)
class WrittenConfigMap:
    """A ConfigMap that the operator makes and a user writes: its name, the commands that write it, its rules.

    A rule is CEL about `data`, which holds true, and the message of a refusal.
    """

    name: str
    commands: str
    rules: tuple[tuple[str, str], ...]


def _notes(name: str, prefix: str, command: str, most: tuple[int, str]) -> WrittenConfigMap:
    """A ConfigMap with a note for each Secret that its user wrote."""
    return WrittenConfigMap(
        name,
        f"`{command}`",
        (
            (f"size({_DATA}) <= {most[0]}", most[1]),
            (
                f"{_DATA}.all(each, each.startsWith('{prefix}') && size(object.data[each]) <= {MAX_NOTE_CHARACTERS})",
                f"an entry of {name} is called {prefix}... and has at most {MAX_NOTE_CHARACTERS} characters; "
                f"use `{command}`",
            ),
        ),
    )


_DATA = "object.?data.orValue({})"
_REPOSITORY = f"object.?data[?'{SETUP_DOTFILES}'].orValue('')"
_BRANCH = f"object.?data[?'{SETUP_BRANCH}'].orValue('')"
_SECRETS = f"object.?data[?'{SETUP_SECRETS}'].orValue('')"
_LINES = rf"{_SECRETS}.split('\n')"
_ARE_REFERENCES = f"{_LINES}.all(each, each.matches(r'{SETUP_SECRET}'))"
WRITTEN_CONFIG_MAPS = (
    _notes(
        REGISTRIES,
        REGISTRY_SECRET_PREFIX,
        "devctl registry login",
        (
            MAX_REGISTRY_LOGINS,
            f"nobody is logged in to more than {MAX_REGISTRY_LOGINS} registries; "
            "`devctl registry logout` one that isn't needed",
        ),
    ),
    WrittenConfigMap(
        SETUP,
        "`devctl setup set`",
        (
            (
                f"{_DATA}.all(each, each in {[SETUP_DOTFILES, SETUP_BRANCH, SETUP_SCRIPT, SETUP_SECRETS]!r})",
                f"a set-up has the entries {SETUP_DOTFILES}, {SETUP_BRANCH}, {SETUP_SCRIPT} and {SETUP_SECRETS} only; "
                "use `devctl setup set`",
            ),
            (
                f"{_REPOSITORY} == '' || size({_REPOSITORY}) <= {GIT_URL_MAX} && {_REPOSITORY}.matches(r'{GIT_URL}')",
                f"{SETUP_DOTFILES} is not a git URL; use one like https://github.com/ann/dotfiles or "
                "git@github.com:ann/dotfiles",
            ),
            (
                f"{_BRANCH} == '' || size({_BRANCH}) <= {GIT_BRANCH_MAX} && {_BRANCH}.matches(r'{GIT_BRANCH}')",
                f"{SETUP_BRANCH} is not a branch; use letters, digits and . _ / -, a letter or digit first",
            ),
            (
                f"{_BRANCH} == '' || {_REPOSITORY} != ''",
                f"{SETUP_BRANCH} is of a repository of yours; give {SETUP_DOTFILES} too",
            ),
            (
                f"size(bytes(object.?data[?'{SETUP_SCRIPT}'].orValue(''))) <= {MAX_SETUP_SCRIPT_BYTES}",
                f"the script of a set-up has at most {MAX_SETUP_SCRIPT_BYTES // 1024} KiB; put the rest into the "
                "repository of your dotfiles",
            ),
            (
                f"size({_SECRETS}) <= {MAX_SETUP_SECRETS_BYTES} && size({_LINES}) <= {MAX_SECRET_REFERENCES}",
                f"a set-up has at most {MAX_SECRET_REFERENCES} secrets; give the others to the servers that need them",
            ),
            (
                f"{_SECRETS} == '' || {_ARE_REFERENCES}",
                f"a line of {SETUP_SECRETS} is `env VARIABLE NAME KEY` or `file FILE NAME KEY`; "
                "use `devctl setup set --secret`",
            ),
            (
                f"{_LINES}.all(each, !each.startsWith('env {RESERVED_ENV_PREFIX}') && "
                f"!each.matches(r'^env ({'|'.join(ACCOUNT_ENV)}) '))",
                f"{', '.join(ACCOUNT_ENV)} and variables starting with {RESERVED_ENV_PREFIX} can't be set; "
                "use another name",
            ),
            (
                f"{_SECRETS} == '' || !({_ARE_REFERENCES}) || {_LINES}.map(each, each.split(' '))"
                ".map(each, each[0] + ' ' + each[1]).all(one, "
                f"{_LINES}.exists_one(each, each.startsWith(one + ' ')))",
                "two secrets of a set-up have the same variable or file; give each its own",
            ),
        ),
    ),
)
"""The ConfigMaps that users write."""


def config_map_policy() -> dict[str, Any]:
    """The policy on the ConfigMaps that users write: they may change their data only, within the rules of each.

    It doesn't hold for whoever may create ConfigMaps in a namespace, as the operator and administrators may.
    """
    parts = [f"metadata.?{field}" for field in ("labels", "annotations", "ownerReferences", "selfLink")]
    parts += ["?immutable", "?binaryData"]
    names = [entry.name for entry in WRITTEN_CONFIG_MAPS]
    validations = [
        (
            " && ".join(f"object.{part} == oldObject.{part}" for part in parts),
            f"users may change only the data of {', '.join(names[:-1])} and {names[-1]}; use "
            f"{', '.join(entry.commands for entry in WRITTEN_CONFIG_MAPS[:-1])} or {WRITTEN_CONFIG_MAPS[-1].commands}",
        ),
        *(
            (f"request.name != '{entry.name}' || ({rule})", message)
            for entry in WRITTEN_CONFIG_MAPS
            for rule, message in entry.rules
        ),
    ]
    return validating_policy(
        CONFIG_MAP_POLICY,
        rules=[{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}],
        only={
            "name": "may-not-make-configmaps",
            "expression": (
                f"request.name in {names!r} && "
                f"!has(object.metadata.deletionTimestamp) && !({A_CONTROLLER}) && "
                "!authorizer.group('').resource('configmaps').namespace(request.namespace).check('create').allowed()"
            ),
        },
        more={"validations": [no_new_finalizers(FINALIZERS), small_metadata(), *forbidden(validations)]},
        namespaces=USER_NAMESPACES,
    )
