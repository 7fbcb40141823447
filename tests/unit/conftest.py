"""Settings of the unit tests: an example takes as long as the other core's work lets it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("devservers", deadline=None)
settings.load_profile("devservers")
