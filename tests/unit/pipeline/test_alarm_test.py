"""Test alarms: what the loop publishes, and when one is due by the setting."""

import json
from pathlib import Path

from engine.facts.timestamps import SECOND
from engine.pipeline.alarm_test import FIRST_AFTER, MEMORY, next_test
from engine.pipeline.intake import AlarmTest
from tests.unit.pipeline.loop import House

WEEK = 7 * 86_400 * SECOND
NOW = 1_763_657_512 * SECOND


async def test_a_test_alarm_is_committed_like_an_alert_and_leaves_nothing(tmp_path: Path) -> None:
    """Beginning and end in the outbox, marked by labels, not retained; in the audit; the journal remembers when."""
    house = House(tmp_path)
    await house.sidecar.intake.put(AlarmTest("t-1"))
    await house.sidecar.loop.turn(0.0)
    rows = house.journal.outbox(10)
    assert [(row.kind, row.retain, row.expiry_s) for row in rows] == [("alert", False, None), ("resolved", False, None)]
    datas = [json.loads(row.payload)["data"] for row in rows]
    assert [data["status"] for data in datas] == ["firing", "resolved"]
    assert datas[0]["labels"] | {"test": "true", "test_id": "t-1", "alertname": "alarm-test"} == datas[0]["labels"]
    assert datas[0]["severity"] == "info"
    assert rows[0].topic.endswith("/alert/alarm-test/t-1")
    (entry,) = house.journal.audit()
    assert (entry.kind, entry.verdict, entry.rule, entry.key) == ("alert", "test", "alarm-test", "t-1")
    assert house.journal.load().memory[MEMORY].isdecimal()
    await house.stop()


def test_the_next_one_is_due_an_interval_after_the_last() -> None:
    """The first soon after the start; one that was missed at once; a clock that was set back puts none off."""
    assert next_test(None, NOW, WEEK) == NOW + FIRST_AFTER
    assert next_test("rubbish", NOW, WEEK) == NOW + FIRST_AFTER
    assert next_test(str(NOW - WEEK // 2), NOW, WEEK) == NOW + WEEK // 2
    assert next_test(str(NOW - 2 * WEEK), NOW, WEEK) < NOW
    assert next_test(str(NOW + 100 * WEEK), NOW, WEEK) == NOW + WEEK
