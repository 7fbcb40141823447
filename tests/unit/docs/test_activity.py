"""The page on activity names the thresholds that the operator sends to agents."""

from __future__ import annotations

from devcluster import ROOT
from devservers.observe.lifetime.idle import CPU_MILLICORES, SSH_BYTES_PER_MINUTE


def test_activity_page_names_the_thresholds_of_the_operator() -> None:
    page = (ROOT / "docs" / "guides" / "activity.md").read_text()
    assert f"more than {SSH_BYTES_PER_MINUTE // 1000} kB in a minute" in page
    assert f"names no `cpuMillicores` has {CPU_MILLICORES}," in page
