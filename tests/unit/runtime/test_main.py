"""The operator's program, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_main_with_a_kubeconfig_that_is_not_there_exits_2_and_logs_one_line(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "KUBECONFIG": str(tmp_path / "none")}
    result = subprocess.run(
        [sys.executable, "-m", "devservers.runtime.main"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "no cluster is configured" in result.stderr
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["INFO", "ERROR"], result.stderr
