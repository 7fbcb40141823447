"""The generated reference pages, which say what the code says."""

from __future__ import annotations

import pytest

from docs.generate import FOLDER, cli
from docs.generate.__main__ import PAGES, main
from docs.generate.settings import rows
from infra.settings.aws.models import Aws
from infra.settings.stack import Settings


@pytest.mark.parametrize("name", PAGES)
def test_reference_page_is_what_the_code_says(name: str) -> None:
    committed = (FOLDER / name).read_text().splitlines()
    assert committed == PAGES[name]().splitlines(), "the page is stale: run `make reference`"


@pytest.mark.parametrize("model", [Settings, Aws])
def test_every_setting_has_what_is_allowed_a_default_and_a_meaning(model: type[Settings | Aws]) -> None:
    for row in rows(model):
        _, key, allowed, default, meaning, _ = (part.strip() for part in row.replace("\\|", "/").split("|"))
        if key != "`aws`":
            assert all((key, allowed != "None" and allowed, default, meaning)), row


def test_every_command_of_the_overview_has_a_section() -> None:
    sections = [line for line in cli.page().splitlines() if line.startswith("### devctl ")]
    overview = cli.help_text()
    assert len(sections) > 20
    for section in sections:
        assert f"\n  {section.removeprefix('### devctl ')} " in overview
    assert "#### devctl keys add" in cli.page()


def test_check_names_a_stale_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "cli.md", lambda: "another text")
    assert main(["--check"]) == 1
    assert "docs/reference/cli.md is stale" in capsys.readouterr().err
