"""devctl repeats a few names of the API because it must not import it; here the two are held equal."""

from __future__ import annotations

import pytest

from devctl import names, values
from devctl.errors import Failure
from devservers.api import devserver, env, fields, meta, queueing


@pytest.mark.parametrize(
    "name",
    [
        "GROUP",
        "VERSION",
        "API_VERSION",
        "LABEL_NAME",
        "LABEL_USER",
        "ANNOTATION_STARTED_AT",
        "ANNOTATION_HOME_OF",
        "ANNOTATION_ALLOWED_FLAVORS",
        "ANNOTATION_HOME_QUOTA",
        "ANY_FLAVOR",
        "SYSTEM_NAMESPACE",
        "OPERATOR",
        "REGISTRIES",
        "REGISTRY_SECRET_PREFIX",
        "SECRET_TYPE_REGISTRY",
        "NAMESPACE_PREFIX",
        "SHARED_PATH",
    ],
)
def test_a_constant_is_the_same_on_both_sides(name: str) -> None:
    assert getattr(names, name) == getattr(meta, name)


def test_the_restart_annotation_is_the_one_the_operator_reads() -> None:

    assert names.ANNOTATION_RESTARTED_AT == meta.ANNOTATION_RESTARTED_AT


def test_paths_and_stages_are_the_same_on_both_sides() -> None:
    assert names.HOME == meta.HOME_PATH
    assert names.RESERVED_PATHS == devserver.RESERVED_PATHS
    assert (names.RESERVED_ENV_PREFIX, names.OWN_ENV) == (env.RESERVED_PREFIX, env.OWN)
    assert names.STAGES == devserver.STAGES


@pytest.mark.parametrize(
    "name", ["ab", "mydev", "a-b", "a" * 40, "a" * 41, "a", "1ab", "Ab", "a_b", "ab-", "-ab", "", "a\n", "ä-b", "a.b"]
)
def test_both_sides_agree_about_a_server_name(name: str) -> None:
    try:
        values.server_name(name)
        ours = True
    except Failure:
        ours = False
    import re

    theirs = len(name) <= 40 and re.fullmatch(fields.SERVER_NAME, name, re.ASCII) is not None
    assert ours == theirs


@pytest.mark.parametrize("text", ["10Gi", "500m", "1.5", ".5", "1e3", "2k", "1E", "5Ei", "", "10GB", "ten", "1 Gi"])
def test_both_sides_agree_about_a_quantity(text: str) -> None:
    from devservers.api.errors import InvalidValue
    from devservers.api.quantity import parse_quantity

    try:
        ours = values.quantity(text)
    except ValueError:
        ours = None
    try:
        theirs = parse_quantity(text)
    except InvalidValue:
        theirs = None
    assert ours == theirs


@pytest.mark.parametrize("text", ["2h30m", "1d", "90m", "45s", "1d2h3m4s", "", "0s", "h", "1h1d", "1.5h", "10", "-1h"])
def test_both_sides_agree_about_a_duration(text: str) -> None:
    from devservers.api.duration import parse_duration
    from devservers.api.errors import InvalidValue

    try:
        ours = values.duration(text, "--ttl")
    except Failure:
        ours = None
    try:
        theirs = int(parse_duration(text).total_seconds())
    except InvalidValue:
        theirs = None
    assert ours == theirs


@pytest.mark.parametrize(
    "name",
    ["ANNOTATION_INSTANCE_TYPE", "ANNOTATION_GPU_MODEL", "ANNOTATION_GPU_MEMORY", "ANNOTATION_CAPACITY"],
)
def test_marks_of_a_flavor_are_the_same_on_both_sides(name: str) -> None:
    assert getattr(names, name) == getattr(meta, name)


def test_names_of_queues_are_the_same_on_both_sides() -> None:
    assert names.ANNOTATION_OVERCOMMIT == meta.ANNOTATION_OVERCOMMIT
    assert names.KUEUE_API_VERSION == queueing.KUEUE_API_VERSION
    assert f"visibility.{queueing.KUEUE}/{queueing.KUEUE_VERSION}" == names.VISIBILITY_API_VERSION
    assert (names.QUEUE, names.LABEL_POOL, names.GPU) == (queueing.INTERACTIVE, queueing.LABEL_POOL, queueing.GPU)
