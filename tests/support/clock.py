"""The clock of commands, stopped: they read it once, through ``keyseat_shared.instants.now_utc``.

Freezegun patches every module that is loaded, which takes longer than most commands here; this replaces one name.
"""

from datetime import datetime, tzinfo

import pytest

from keyseat_shared import instants


def stop_clock(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Let ``now_utc`` return the instant ``at`` (``YYYY-MM-DDTHH:MM:SSZ``) until the test ends or it is set again."""
    instant = instants.parse_instant(at)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return instant.astimezone(tz)

    monkeypatch.setattr(instants, "datetime", Stopped)
