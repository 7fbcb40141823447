"""Which registries a user's image may come from, as CEL for the admission policy.

A node's container runtime fetches `spec.image` from the node's own network and past every NetworkPolicy. So a reference
to the node itself (`localhost:2379/x`) or to an address would reach what is closed to people.

Invariant: such a reference is let through only where the stack's list of registries names it. A public name may lead to
a private address; only a list without `*` keeps those out.
"""

from __future__ import annotations

ANY = "*"
"""Every registry with a public name."""
PATTERN = r"^(\*|([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*)$"
"""An entry of the list: `*`, or a registry with the first parts of a path, like ghcr.io/team."""

# The first part of a reference is a host when it has a dot, a colon or a capital, or is `localhost`. A last label of
# digits makes an address of it, however it is written (127.0.0.1, 127.1, 0x7f000001). A host of one label is the node
# itself or a neighbour (its own name, ip6-localhost): no public registry is called so.
_PRIVATE = r"(local|localhost[46]?|localdomain[46]?|internal|[0-9]+|0x[0-9a-f]*)"
_NODE = rf"(?i)^(localhost|[a-z0-9-]+:[0-9]+|([a-z0-9-]+\.)+{_PRIVATE}(:[0-9]+)?|(?-i:[a-z0-9-]*[A-Z][a-zA-Z0-9-]*))/"
_NAMED = r"^([^/]*[.:A-Z][^/]*|localhost)/"


def variables(annotation: str) -> list[dict[str, str]]:
    """The CEL variables that `allowed` uses.

    The list of registries is the namespace's ``annotation``, and any registry where it has none.
    """
    listed = f"namespaceObject.metadata.?annotations[?'{annotation}'].orValue('{ANY}')"
    return [
        {"name": "image", "expression": "object.spec.?image.orValue('')"},
        {"name": "registries", "expression": f"{listed}.split(',').map(each, each.trim())"},
        {"name": "onNode", "expression": f"variables.image.matches(r'{_NODE}')"},
        {
            "name": "fullImage",
            "expression": (
                f"variables.image.matches(r'{_NAMED}') ? variables.image : "
                "(variables.image.contains('/') ? 'docker.io/' : 'docker.io/library/') + variables.image"
            ),
        },
    ]


def allowed() -> str:
    """CEL: whether the server's image comes from an allowed registry."""
    return (
        "variables.image == '' || variables.registries.exists(each, "
        f"each == '{ANY}' ? !variables.onNode : variables.fullImage.startsWith(each + '/'))"
    )


def refusal() -> str:
    """CEL: the message of a refusal."""
    return (
        "variables.onNode ? 'image ' + variables.image + ' names a registry by an address or a name of the node"
        " itself or its network; use a registry with a public name, or ask your administrator to allow this one' : "
        "'image ' + variables.image + ' comes from a registry that is not allowed here; choose one of ' + "
        "variables.registries.join(', ')"
    )
