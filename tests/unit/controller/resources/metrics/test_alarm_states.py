"""Changes of alarms' states: what is told and asked for, once for each, and which composite alarms follow."""

import json
from datetime import timedelta
from typing import Any

import pytest

from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarm_states
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarm_states import by_name, parents, short_name
from stead_controller.resources.metrics.measures import Query
from tests.support.rows import NOW
from tests.unit.controller.resources.metrics.alarms_of_tenant import POLICY, STOP, Alarms, above_one, average, metric

LATER = NOW + timedelta(seconds=55)
TOPIC = "arn:aws:sns:us-east-1:111111111111:none"


@pytest.fixture
def own(run: Any, world: Any) -> Alarms:
    return Alarms(run, world)


def test_another_state_is_written_and_goes_into_the_history(own: Alarms) -> None:
    own.put()
    own.become("OK", why="all is well", data={"a": 1}, at=LATER)
    row = own.row()
    assert (row.state, row.reason, row.reason_data) == ("OK", "all is well", '{"a": 1}')
    assert (row.updated, row.transitioned) == (LATER, LATER)
    [told] = own.history()
    assert (told.summary, told.composite, told.at) == ("Alarm updated from INSUFFICIENT_DATA to OK", False, LATER)
    assert json.loads(told.text) == {
        "version": "1.0",
        "oldState": {"stateValue": "INSUFFICIENT_DATA", "stateReason": "Unchecked: Initial alarm creation"},
        "newState": {"stateValue": "OK", "stateReason": "all is well", "stateReasonData": {"a": 1}},
    }


def test_the_same_state_for_another_reason_neither_acts_nor_is_told(own: Alarms) -> None:
    own.put("own", POLICY)
    own.become("ALARM")
    own.become("ALARM", why="still", at=LATER)
    row = own.row()
    assert (row.reason, row.updated, row.transitioned) == ("still", LATER, NOW)
    assert (len(own.history()), len(own.asked())) == (1, 1)


def test_a_long_reason_is_cut(own: Alarms) -> None:
    own.put()
    own.become("OK", why="x" * 2000)
    assert own.row().reason == "x" * 1023


def test_the_actions_of_the_new_state_are_asked_for(own: Alarms) -> None:
    own.put("own", STOP, POLICY, TOPIC, definition=above_one(metric(instance_id="i-1")))
    own.become("OK")
    assert (own.asked(), own.row().acted) == ([], None)
    own.become("ALARM", data=[1], at=LATER)
    first, second = own.asked()
    assert (first.arn, second.arn) == (STOP, POLICY)
    for each in (first, second):
        assert (each.alarm, each.instance_id, each.state, each.since) == ("own", "i-1", "ALARM", LATER)
        assert (each.reason_data, each.again) == ("[1]", False)
    assert own.row().acted == LATER
    assert len(own.history(kind="Action")) == 1  # that of the topic, which is not there


def test_topics_alone_ask_for_nothing(own: Alarms) -> None:
    own.put("own", TOPIC)
    own.become("ALARM")
    assert (own.asked(), own.row().acted) == ([], None)


def test_an_alarm_whose_actions_are_off_does_none(own: Alarms) -> None:
    own.put("own", POLICY, TOPIC, enabled=False)
    own.become("ALARM")
    assert (own.row().state, own.asked(), own.history(kind="Action")) == ("ALARM", [], [])


@pytest.mark.parametrize(("instances", "expected"), [((), ""), (("i-1", None), "i-1"), (("i-1", "i-2"), "")], ids=str)
def test_an_action_is_on_the_one_instance_that_is_watched(own: Alarms, instances: Any, expected: str) -> None:
    some = [*instances, None][:2]
    queries = [Query(f"m{n}", measure=average(metric(f"x{n}", one)), returned=False) for n, one in enumerate(some)]
    own.put(
        "own",
        POLICY,
        definition=Definition(
            None, (*queries, Query("e", expression=queries[0].id, returned=True)), 1, None, 1, "GreaterThanThreshold"
        ),
    )
    own.become("ALARM")
    [asked] = own.asked()
    assert asked.instance_id == expected


def again(own: Alarms, seconds: float) -> bool:
    at = NOW + timedelta(seconds=seconds)
    found = own.run(lambda tx: alarm_states.ask_again(tx, own.row_of(tx), at))
    assert isinstance(found, bool)
    return found


def test_policies_are_asked_each_minute_while_the_state_stays_and_other_actions_once(own: Alarms) -> None:
    own.put("own", STOP, POLICY, definition=above_one(metric(instance_id="i-1")))
    assert not again(own, 0)
    own.become("ALARM")
    assert again(own, 54.9)
    assert len(own.asked()) == 2
    assert again(own, 55)
    assert [(one.arn, one.again) for one in own.asked()] == [(STOP, False), (POLICY, False), (POLICY, True)]
    assert own.row().acted == LATER
    assert again(own, 109)
    assert len(own.asked()) == 3
    own.set(acted=None)
    assert again(own, 109)
    assert len(own.asked()) == 4


def test_an_alarm_without_policies_or_with_its_actions_off_asks_for_nothing_again(own: Alarms) -> None:
    own.put("own", STOP, definition=above_one(metric(instance_id="i-1")))
    own.become("ALARM")
    assert not again(own, 100)
    assert (len(own.asked()), own.row().acted) == (1, NOW)
    own.put("own", POLICY, enabled=False)
    assert not again(own, 100)
    assert len(own.asked()) == 1


def test_composite_alarms_follow_one_above_the_other(own: Alarms) -> None:
    own.put("a")
    own.put("b")
    own.compose("both", "ALARM(a) AND ALARM(b)")
    own.compose("top", "ALARM(both)")
    own.compose("calm", "NOT ALARM(both)")
    assert {own.states()[name] for name in ("both", "top")} == {"OK"}
    own.become("ALARM", "a")
    assert own.states() == {"a": "ALARM", "b": "INSUFFICIENT_DATA", "both": "OK", "top": "OK", "calm": "ALARM"}
    before = len(own.history("both"))
    own.become("ALARM", "b", at=LATER)
    assert own.states() == {"a": "ALARM", "b": "ALARM", "both": "ALARM", "top": "ALARM", "calm": "OK"}
    assert (own.row("top").transitioned, own.row("both").reason) == (LATER, "The rule holds: a is ALARM, b is ALARM.")
    [told] = own.history("both")[before:]
    assert told.composite
    assert json.loads(own.row("both").reason_data or "") == {
        "triggeringAlarms": [{"name": "a", "stateValue": "ALARM"}, {"name": "b", "stateValue": "ALARM"}]
    }


def test_a_composite_alarm_that_stays_as_it_is_is_left_alone(own: Alarms) -> None:
    own.put("a")
    own.put("b")
    own.compose("any", "ALARM(a) OR ALARM(b)")
    own.become("ALARM", "a")
    reason = own.row("any").reason
    own.become("ALARM", "b", at=LATER)
    row = own.row("any")
    assert (row.state, row.updated, row.reason) == ("ALARM", NOW, reason)
    own.run(lambda tx: alarm_states.weigh(tx, own.row_of(tx, "any"), LATER))
    assert own.row("any").updated == NOW


def test_a_rule_names_alarms_by_their_arns_and_those_that_are_gone(own: Alarms) -> None:
    own.put("a:b")
    own.put("gone")
    arn = "arn:aws:cloudwatch:us-east-1:111111111111:alarm:a:b"
    own.compose("c", f'ALARM("{arn}") OR ALARM(gone)')
    assert own.row("c").reason == f"The rule does not hold: {arn} is INSUFFICIENT_DATA, gone is INSUFFICIENT_DATA."
    own.run(lambda tx: tx.session.delete(own.row_of(tx, "gone")))
    own.become("ALARM", "a:b")
    assert own.row("c").reason == f"The rule holds: {arn} is ALARM, gone is not there."
    assert json.loads(own.row("c").reason_data or "")["triggeringAlarms"][1] == {"name": "gone", "stateValue": None}
    own.compose("constant", "TRUE")
    assert (own.row("constant").state, own.row("constant").reason) == ("ALARM", "The rule is constant.")


def test_data_of_a_reason_that_would_be_too_long_are_left_out(own: Alarms) -> None:
    of_one = len('{"name":"","stateValue":"INSUFFICIENT_DATA"},') + 255
    names = [f"{number:0255}" for number in range(4000 // of_one + 1)]
    for name in names:
        own.put(name)
    own.compose("some", " OR ".join(f"ALARM({name})" for name in names[:-1]))
    own.compose("all", " OR ".join(f"ALARM({name})" for name in names))
    assert len(own.row("some").reason_data or "") > 3000
    assert own.row("all").reason_data is None
    assert len(own.row("all").reason) == 1023


def test_alarms_of_other_accounts_are_neither_read_nor_change(own: Alarms) -> None:
    own.put("a")
    own.compose("c", "ALARM(a)")
    theirs = Alarms(own.run, own.world, own.world.other)
    theirs.put("a")
    theirs.compose("d", "ALARM(a)")
    theirs.become("ALARM", "a")
    mine, other = own.caller.account_id, theirs.caller.account_id

    def read(tx: Transaction) -> Any:
        return [(by_name(tx, who, ["a", "c", "z"]), parents(tx, who, ["a", "c"])) for who in (mine, other)]

    assert own.run(read) == [({"a": "INSUFFICIENT_DATA", "c": "OK"}, ["c"]), ({"a": "ALARM"}, ["d"])]
    assert own.run(by_name, mine, ["a"]) == {"a": "INSUFFICIENT_DATA"}
    assert own.run(parents, mine, ["c"]) == []


def test_composite_alarms_of_the_same_name_follow_the_alarms_of_their_own_account(own: Alarms) -> None:
    theirs = Alarms(own.run, own.world, own.world.other)
    for each in (own, theirs):
        each.put("a")
        each.compose("c", "ALARM(a)")
    theirs.become("ALARM", "c", why="by hand")
    own.become("ALARM", "a")
    assert own.row("c").reason == "The rule holds: a is ALARM."
    own.become("OK", "a")
    assert (own.row("c").state, theirs.row("c").state, theirs.row("c").reason) == ("OK", "ALARM", "by hand")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("a", "a"),
        ("arn:aws:cloudwatch:us-east-1:111111111111:alarm:a", "a"),
        ("arn:aws:cloudwatch:us-east-1:111111111111:alarm:a:b", "a:b"),
        ("arn:of:mine", "arn:of:mine"),
        ("1:2:3:4:5:6:7", "1:2:3:4:5:6:7"),
    ],
)
def test_the_name_in_an_arn_is_what_follows_its_sixth_colon(name: str, short: str) -> None:
    assert short_name(name) == short
