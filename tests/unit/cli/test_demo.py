"""`dockwarden demo`: the story, without anything to run it on."""

import time

import pytest

from engine.cli.demo import show_demo


def test_the_story_is_told_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The held mount, the dead container, both resolved, the storm and its clean-up; many lines alike are counted."""
    assert show_demo(0) == 0
    out = capsys.readouterr().out
    story = [
        "held-mounts",
        "unmount",
        "dead-container",
        "resolved: held-mounts",
        "more events",
        "container-storm",
        "storm-cleanup",
    ]
    places = [out.index(part) for part in story]
    assert places == sorted(places)
    assert len(out.splitlines()) < 50


def test_it_takes_as_long_as_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The moments of the recording are spread over the time that is given."""
    started = time.monotonic()
    assert show_demo(0.5) == 0
    assert time.monotonic() - started >= 0.5
    assert "dockwarden run" in capsys.readouterr().out
