"""Alarms that are evaluated: woken by data, judged, acting; the clock is stepped by hand, and the store is in memory."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from stead_controller.clock import now
from stead_controller.db.tables import Alarm, AlarmAction, AlarmHistoryItem, Instance
from stead_controller.metrics.datum import Identity, MetricsUnavailable, single
from stead_controller.resources.metrics import due_alarms
from stead_controller.workflows.alarms import Alarms, WatchedStore
from tests.api.cloudwatch_requests import ALARM

ACTION = "arn:aws:automate:us-east-1:ec2:"


class Life:
    """A controller's alarms over the endpoint's database, with a clock of its own."""

    def __init__(self, api):
        self.api = api
        self.now = datetime.fromtimestamp(int(now().timestamp()) // 60 * 60 + 60, UTC)
        self.store = WatchedStore(api.metrics)
        self.begin()

    def begin(self):
        """Begin as a new controller does."""
        self.alarms = Alarms(self.api.database, self.store, self.api.world.cloud, lambda: self.now)
        self.store.watch(self.alarms)

    def put(self, value, *, ago=0, name="CPUUtilization", account="111111111111", dimensions=(), namespace="AWS/EC2"):
        at = int((self.now - timedelta(seconds=ago)).timestamp() * 1000)
        identity = Identity(account, namespace, name, dimensions)
        asyncio.run(self.store.add([single(identity, at, "Percent", float(value))]))

    def later(self, seconds):
        """Let time pass, a second at a time as the controller does."""
        for _ in range(seconds):
            self.now += timedelta(seconds=1)
            self.run()

    def run(self):
        asyncio.run(self.alarms.run())

    def state(self, name="own"):
        return self.api.run(lambda tx: tx.session.get(Alarm, ("111111111111", name)).state)

    def due(self, name="own"):
        return self.api.run(lambda tx: tx.session.get(Alarm, ("111111111111", name)).due)


@pytest.fixture
def client(api):
    return api.client(api.world.one, "cloudwatch")


@pytest.fixture
def life(api):
    return Life(api)


def put(client, **changes):
    asked = ALARM | {"Dimensions": [], "EvaluationPeriods": 1} | changes
    client.put_metric_alarm(**{name: value for name, value in asked.items() if value is not None})


def test_an_alarm_follows_its_data_within_15_seconds(life, client):
    put(client)
    life.run()
    assert life.state() == "INSUFFICIENT_DATA"
    life.put(90)
    life.later(11)
    assert life.state() == "ALARM"
    life.later(60)
    life.put(10)
    life.later(11)
    assert life.state() == "OK"
    [alarm] = client.describe_alarms()["MetricAlarms"]
    assert "10.0" in alarm["StateReason"]


def test_without_data_an_alarm_rests_and_is_woken_by_the_next_datum(life, client):
    put(client)
    life.run()
    assert life.due() is None
    life.put(10)
    life.later(11)
    assert (life.state(), life.due() is None) == ("OK", False)
    life.later(240)
    assert (life.state(), life.due()) == ("INSUFFICIENT_DATA", None)
    life.put(99, name="Other")
    life.put(99, account="222222222222")
    life.later(11)
    assert life.due() is None
    life.put(99)
    life.later(11)
    assert life.state() == "ALARM"


def test_m_of_n(life, client):
    put(client, EvaluationPeriods=3, DatapointsToAlarm=2)
    for value, expected in ((10, "OK"), (90, "OK"), (10, "OK"), (90, "ALARM"), (10, "OK")):
        life.put(value)
        life.later(60)
        assert life.state() == expected, value


def test_missing_data_are_breaching_where_they_are_said_to_be(life, client):
    put(client, TreatMissingData="breaching")
    put(client, AlarmName="calm", TreatMissingData="notBreaching")
    put(client, AlarmName="same", TreatMissingData="ignore")
    life.run()
    assert [life.state(name) for name in ("own", "calm", "same")] == ["ALARM", "OK", "INSUFFICIENT_DATA"]


def test_an_alarm_on_an_expression(life, client):
    metric = {"Namespace": "AWS/EC2", "MetricName": "CPUUtilization"}
    queries = [
        {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
        {
            "Id": "n",
            "MetricStat": {"Metric": metric | {"MetricName": "Other"}, "Period": 60, "Stat": "Sum"},
            "ReturnData": False,
        },
        {"Id": "e", "Expression": "m + FILL(n, 0)"},
    ]
    without = dict.fromkeys(("Namespace", "MetricName", "Dimensions", "Statistic", "Period"))
    put(client, **without, Metrics=queries)
    life.run()
    life.put(50)
    life.later(11)
    assert life.state() == "OK"
    life.put(50, name="Other")
    life.later(11)
    assert life.state() == "ALARM"


def test_percentiles_of_few_samples_change_nothing(life, client):
    put(client, Statistic=None, ExtendedStatistic="p50", EvaluateLowSampleCountPercentile="ignore")
    life.run()
    for _ in range(19):
        life.put(90)
    life.later(11)
    assert life.state() == "INSUFFICIENT_DATA"
    life.put(90)
    life.later(11)
    assert life.state() == "ALARM"


def test_a_state_set_by_hand_goes_back_with_the_next_evaluation(life, client):
    put(client)
    life.put(10)
    life.later(11)
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="by hand")
    assert life.state() == "ALARM"
    life.later(1)
    assert life.state() == "OK"


def test_what_is_changed_while_it_is_evaluated_is_evaluated_again(api, life, client):
    put(client)
    life.put(90)
    life.now += timedelta(seconds=11)
    found = api.run(lambda tx: due_alarms.due(tx, life.now + timedelta(hours=1)))
    judged = asyncio.run(due_alarms.judge(api.metrics, found, life.now))
    assert judged[0].new.state == "ALARM"
    put(client, Threshold=95.0)
    api.run(lambda tx: due_alarms.settle(tx, judged, life.now))
    assert life.state() == "INSUFFICIENT_DATA"
    client.delete_alarms(AlarmNames=["own"])
    api.run(lambda tx: due_alarms.settle(tx, judged, life.now))
    assert client.describe_alarms()["MetricAlarms"] == []


def test_a_new_controller_looks_at_all_alarms_once(life, client):
    put(client)
    life.run()
    life.store.watch(Alarms(life.api.database, life.store, life.api.world.cloud, lambda: life.now))  # and is killed
    life.put(90)
    life.begin()
    life.later(11)
    assert life.state() == "ALARM"


def test_a_store_that_is_away_delays_and_loses_nothing(api, life, client):
    put(client)
    life.run()
    life.put(90)
    life.run()
    life.now += timedelta(seconds=11)
    api.metrics.is_away = True
    with pytest.raises(MetricsUnavailable):
        life.run()
    assert life.state() == "INSUFFICIENT_DATA"
    api.metrics.is_away = False
    life.run()
    assert life.state() == "ALARM"


def on_instance(client, instance, verb, name="own", **changes):
    dimensions = [{"Name": "InstanceId", "Value": instance}]
    put(client, AlarmName=name, Dimensions=dimensions, AlarmActions=[ACTION + verb], **changes)


@pytest.mark.parametrize(("verb", "expected"), [("stop", "stopping"), ("terminate", "shutting-down")])
def test_an_alarm_stops_and_terminates_its_instance(api, life, client, verb, expected):
    instance = api.launch()
    on_instance(client, instance, verb)
    life.put(90, dimensions=(("InstanceId", instance),))
    life.later(11)
    [found] = api.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
    assert found["State"]["Name"] == expected
    items = client.describe_alarm_history(AlarmName="own", HistoryItemType="Action")["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in items] == [f"Successfully executed action {ACTION}{verb}"]
    assert api.run(lambda tx: tx.session.query(AlarmAction).count()) == 0
    life.later(120)
    assert len(client.describe_alarm_history(HistoryItemType="Action")["AlarmHistoryItems"]) == 1


def test_an_alarm_reboots_and_recovers_its_instance(api, life, client):
    instance = api.launch()
    before = api.run(lambda tx: tx.session.get_one(Instance, instance).start_count)
    on_instance(client, instance, "reboot")
    on_instance(client, instance, "recover", "second")
    life.put(90, dimensions=(("InstanceId", instance),))
    life.later(11)
    summaries = [
        one["HistorySummary"] for one in client.describe_alarm_history(HistoryItemType="Action")["AlarmHistoryItems"]
    ]
    assert sorted(summaries) == [f"Successfully executed action {ACTION}{verb}" for verb in ("reboot", "recover")]
    row = api.run(lambda tx: tx.session.get_one(Instance, instance))
    assert row.start_count > before
    assert row.recovery_began is not None


def test_an_action_that_fails_is_told_and_hinders_no_other(api, life, client):
    protected, plain = api.launch(number=1, disable_api_termination=True), api.launch(number=2)
    gone = "i-00000000000000000"
    for number, instance in enumerate((protected, gone, plain)):
        on_instance(client, instance, "terminate", f"a{number}")
        life.put(90, dimensions=(("InstanceId", instance),))
    life.later(11)
    items = client.describe_alarm_history(HistoryItemType="Action")["AlarmHistoryItems"]
    outcomes = {one["AlarmName"]: one["HistorySummary"].split()[0] for one in items}
    assert outcomes == {"a0": "Failed", "a1": "Failed", "a2": "Successfully"}
    assert api.run(lambda tx: tx.session.get_one(Instance, plain).state) == "shutting-down"
    assert api.run(lambda tx: tx.session.get_one(Instance, protected).state) == "running"


def test_an_instance_of_another_account_is_not_touched(api, life, client):
    theirs = api.launch(api.world.other)
    on_instance(client, theirs, "stop")
    life.put(90, dimensions=(("InstanceId", theirs),))
    life.later(11)
    assert life.state() == "ALARM"
    assert api.run(lambda tx: tx.session.get_one(Instance, theirs).state) == "running"


def test_an_action_is_kept_over_a_kill_of_the_controller(api, life, client):
    instance = api.launch()
    on_instance(client, instance, "stop")
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="r")
    assert api.run(lambda tx: tx.session.query(AlarmAction).count()) == 1
    life.begin()
    api.metrics.is_away = True
    with pytest.raises(MetricsUnavailable):
        life.run()
    assert api.run(lambda tx: tx.session.get_one(Instance, instance).state) == "stopping"


def test_a_composite_alarm_follows_in_the_same_transaction(life, client):
    put(client)
    client.put_composite_alarm(AlarmName="above", AlarmRule="ALARM(own)")
    life.put(90)
    life.later(11)
    assert life.state("above") == "ALARM"


def test_many_alarms_at_rest_cost_one_query_for_each_round(api, life, client):
    for number in range(5):
        put(client, AlarmName=f"a{number}")
    life.run()
    statements = []

    def note(connection, cursor, statement, *_):
        statements.append(statement)

    event.listen(api.database.engine, "before_cursor_execute", note)
    life.later(1)
    event.remove(api.database.engine, "before_cursor_execute", note)
    assert len([one for one in statements if one.lstrip().upper().startswith("SELECT")]) <= 2
    assert not [one for one in statements if one.lstrip().upper().startswith(("UPDATE", "INSERT", "DELETE"))]


def test_old_history_is_forgotten(api, life, client):
    put(client)
    life.now += timedelta(days=29)
    asyncio.run(life.alarms.forget())
    assert api.run(lambda tx: tx.session.query(AlarmHistoryItem).count()) == 1
    life.now += timedelta(days=2)
    asyncio.run(life.alarms.forget())
    assert api.run(lambda tx: tx.session.query(AlarmHistoryItem).count()) == 0
