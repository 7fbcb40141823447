"""Writes rendered.yaml anew from the pinned sources (`make reviewed`)."""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from devcluster import toolchain
from devcluster.gotool import ToolchainError, environment
from devcluster.progress import Progress
from devservers_core.paths import current
from infra.reviewed.entry import READ, RENDERED, Component, components, dump, load
from infra.reviewed.render import daemonsets, fetch, manifests, webhooks
from infra.reviewed.sources import SOURCES, Source, pinned

PROVIDER = "pulumi-resource-kubernetes"
HEAD = (
    "# Written by `make reviewed` from pinned Go modules. Review it, don't edit it; decisions are in decisions.yaml.\n"
)


def main() -> int:
    """Render everything; 1 when a pinned version is neither rendered nor read."""
    paths, progress = current(), Progress()
    toolchain.ensure((PROVIDER,), paths, progress)
    provider, env = toolchain.need(PROVIDER, paths), environment(paths, progress)
    before = {(each.component, each.version): each for each in load(RENDERED)}
    by_hand = {(each.component, each.version) for each in load(READ)}
    found: list[Component] = []
    missing = False
    with tempfile.TemporaryDirectory() as scratch:
        for source in SOURCES:
            for version in pinned(source):
                key = (source.component, version)
                try:
                    made = _look(source, version, provider, Path(scratch), env)
                except ToolchainError:
                    # Without a network nothing is lost: what was rendered of this very version is still true.
                    found += [before[key]] if key in before else []
                    missing = not _available(source, version, key in before, key in by_hand) or missing
                    continue
                found.append(_dated(made, before.get(key)))
    RENDERED.write_text(HEAD + dump(found))
    print(f"{len(found)} versions rendered, {len(by_hand)} read by hand")
    for each in components().values():
        if not each.exact:
            print(f"reviewed by another version's manifests: {each.component} {each.version} ({each.seen})")
    return int(missing)


def _look(source: Source, version: str, provider: Path, scratch: Path, env: Mapping[str, str]) -> Component:
    folder, checksum = fetch(source.module, source.tag(version), scratch, env)
    made = manifests(folder / source.folder, provider, source.values)
    return Component(
        component=source.component,
        version=version,
        source=f"{source.repository}/tree/{source.tag(version)}/{source.folder}",
        seen=f"{source.module}@{source.tag(version)} {checksum}",
        date=datetime.datetime.now(datetime.UTC).date(),
        exact=True,
        webhooks=webhooks(made),
        daemonsets=daemonsets(made),
    )


def _dated(now: Component, before: Component | None) -> Component:
    """What is as it was keeps its date."""
    same = before is not None and now.model_copy(update={"date": before.date}) == before
    return before if before is not None and same else now


def _available(source: Source, version: str, rendered: bool, by_hand: bool) -> bool:
    """Report a version whose module can't be downloaded; whether an entry exists."""
    kept = "what was rendered before stays" if rendered else f"it was read by hand, in {READ.name}" if by_hand else ""
    problem = f"{source.module}@{source.tag(version)}, of {source.component} {version}, can't be downloaded"
    print(f"{problem}: {kept or 'nobody has looked at it'}", file=sys.stderr)
    if not kept:
        print(f"  run it again with a network, or describe its source in {READ.name}", file=sys.stderr)
    return bool(kept)


if __name__ == "__main__":
    sys.exit(main())
