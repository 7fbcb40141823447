"""The changelog, which has the form of Keep a Changelog."""

from __future__ import annotations

import re

from infra import ROOT

TYPES = ["Changed", "Removed", "Deprecated", "Security", "Added", "Fixed"]


def test_changelog_headings_are_versions_and_types_of_change() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    for version in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", version), version
    for block in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        types = re.findall(r"^### (.*)$", block, re.MULTILINE)
        assert types == [each for each in TYPES if each in types], "each type once, in this order"
