"""Where nothing can be confined, that is said before a process is started."""

import sys

import pytest

from hnexport.confine.limits import missing_for_confinement


@pytest.mark.skipif(sys.platform != "linux", reason="confines on Linux alone")
def test_linux_is_worth_trying() -> None:
    assert missing_for_confinement() is None


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_confine_nothing(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert missing_for_confinement() == f"{system} has neither Landlock nor seccomp"


def test_without_resource_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert "could not be told and bounded" in str(missing_for_confinement())
