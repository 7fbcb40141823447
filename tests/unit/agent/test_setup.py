"""What the platform accepts as a set-up is what the agent applies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devservers_core.grammar import GIT_BRANCH, GIT_BRANCH_MAX, GIT_URL, GIT_URL_MAX, fits
from devservers_core.names import SETUP_BRANCH, SETUP_DOTFILES, SETUP_LOG, SETUP_PATH, SETUP_SCRIPT
from tests.support.cluster.crd_tables import GIT_URLS, GIT_URLS_NOT_CLONED, NO_GIT_URLS

INTERNAL = Path(__file__).parents[3] / "images" / "agent" / "internal"
SETUP = (INTERNAL / "setup" / "setup.go").read_text()


def _agents(name: str) -> str:
    """A pattern of the agent; RE2's and Python's syntax are the same here."""
    (pattern,) = re.findall(rf"{name} *= regexp\.MustCompile\(`(.*)`\)", SETUP)
    return str(pattern)


@pytest.mark.parametrize("url", GIT_URLS)
def test_repository_that_is_accepted_is_applied_by_the_agent(url: str) -> None:
    assert fits(url, GIT_URL, GIT_URL_MAX)
    assert re.search(_agents("repository"), url, re.ASCII)


@pytest.mark.parametrize("url", [*NO_GIT_URLS, *GIT_URLS_NOT_CLONED])
def test_repository_that_is_refused(url: str) -> None:
    assert not fits(url, GIT_URL, GIT_URL_MAX)


@pytest.mark.parametrize("branch", ["main", "0", "feature/a_b-c.d", "a" * 200])
def test_branch_that_is_accepted_is_applied_by_the_agent(branch: str) -> None:
    assert fits(branch, GIT_BRANCH, GIT_BRANCH_MAX)
    assert re.search(_agents("branch"), branch, re.ASCII)


@pytest.mark.parametrize("branch", ["", "-b", "--upload-pack=x", "a b", "a\n", "ä", "a:b", "a" * 201])
def test_branch_that_is_refused(branch: str) -> None:
    assert not fits(branch, GIT_BRANCH, GIT_BRANCH_MAX)


def test_agent_reads_the_entries_where_they_are_mounted_and_logs_where_devctl_says() -> None:
    for entry in (SETUP_DOTFILES, SETUP_BRANCH, SETUP_SCRIPT):
        assert f'setup.text("{entry}")' in SETUP
    assert f'Setup = "{SETUP_PATH}"' in re.sub(r" +", " ", (INTERNAL / "paths" / "paths.go").read_text())
    folder, _, file = SETUP_LOG.removeprefix("~/").rpartition("/")
    assert f'filepath.Join(setup.Home, "{folder}")' in SETUP
    assert f'filepath.Join(state, "{file}")' in SETUP
