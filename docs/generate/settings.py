"""The reference of a stack's settings, from the models that read them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from devservers.api.meta import Model
from docs.generate import NOTICE, cell
from infra.settings.aws.models import Aws
from infra.settings.platform.bastion import LOCAL_KEYS, Bastion
from infra.settings.problems import allowed_at, model_in
from infra.settings.stack import Settings, User

_INTRODUCTION = """\
# Stack settings

For whoever writes `stacks/Pulumi.STACK.yaml`. Keys stand below `config:` with the prefix `devservers:`; one is set with

```console
pulumi config set --stack STACK --path devservers:operator.replicas 1
```

A file that can't be used is refused before anything is changed, with the key, the value, what is allowed and what to
do. What the settings are for: [The Pulumi program](../guides/pulumi.md),
[Settings of an environment on AWS](../guides/aws-settings.md).

"""
_HEAD = "| key | allowed | default | what it is |\n| --- | --- | --- | --- |\n"
_COMMON = {  # keys whose models leave the meaning to the name
    "log_level": "The least important messages that it logs.",
    "cpu_request": "CPUs that each of its pods asks for.",
    "cpu_limit": "Most CPUs that each of its pods takes.",
    "memory_request": "Memory that each of its pods asks for.",
    "memory_limit": "Most memory that each of its pods takes; above it the container is ended.",
}


def page() -> str:
    """The page, in Markdown."""
    platform = "".join(f"{row}\n" for row in rows(Settings) if not row.startswith("| `aws"))
    aws = "".join(f"{row}\n" for row in rows(Aws))
    text = f"{NOTICE}{_INTRODUCTION}## Of every platform\n\n{_HEAD}{platform}\n"
    return f"{text}## With cluster `aws`\n\nA stack with cluster `local` sets none of them.\n\n{_HEAD}{aws}"


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A row for each key below a model."""
    for name, field in model.model_fields.items():
        key, inner = f"{prefix}{field.alias or name}", model_in(field.annotation)
        meaning = cell(field.description or _COMMON.get(name, ""))
        if model is Bastion and field.alias in LOCAL_KEYS:
            why, remedy = LOCAL_KEYS[field.alias]
            meaning += f" Refused with cluster `aws` ({why}): {remedy}."
        if inner is None:
            yield f"| `{key}` | {allowed_at(model, [field.alias or name])} | {_default(field)} | {meaning} |"
            continue
        if inner is User:
            see = "The fields are those of [DevServerUser](crds.md#devserveruser-spec)."
            yield f"| `{key}[]` | {allowed_at(model, [field.alias or name])} | empty | {meaning} {see} |"
            continue
        if issubclass(inner, Model):
            see = "The fields are those of [DevServerFlavor](crds.md#devserverflavor-spec)."
            yield f"| `{key}` | {allowed_at(model, [field.alias or name])} | empty | {meaning} {see} |"
            continue
        if field.default is None:
            yield f"| `{key}` | an object | none | {meaning} |"
        yield from rows(inner, f"{key}[]." if "tuple" in str(field.annotation) else f"{key}.")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value) or "empty"
    return f"`{value}`" if value else "empty"
