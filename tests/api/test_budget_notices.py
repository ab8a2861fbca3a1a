"""What budgets publish when thresholds are crossed, and what their actions do: once for each period."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select

from stead_controller.db.tables import Budget, Instance, UsageLine
from stead_controller.resources.budgets import due_budgets, execution
from stead_controller.workflows.budgets import Budgets
from tests.api.identity import document, refused, trust
from tests.support.receivers import subscribe

MINE = "111111111111"
TOPIC = f"arn:aws:sns:us-east-1:{MINE}:spending"
TOLD = {"SubscriptionType": "SNS", "Address": TOPIC}
DENY = f"arn:aws:iam::{MINE}:policy/nothing"
OVER = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
ABOUT = {"AccountId": MINE, "BudgetName": "day"}
TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
NOON = TOMORROW + timedelta(hours=12)


def use(api, hours, until):
    """So many hours of a NAT gateway, each for 0.004 dollars."""
    ended = int(until.timestamp())

    def add(tx):
        about = {"account_id": MINE, "resource_id": "nat-1", "usage": "NatGateway-Hours", "operation": "NatGateway"}
        tx.session.add(UsageLine(**about, zone="", quantity=1, began=ended - hours * 3600, ended=ended))

    api.run(add)


class Looking:
    """The loop, with its own time."""

    def __init__(self, api):
        self.api, self.now = api, NOON

    def run(self, now=None):
        """Look at what is due at a time, as a new controller would."""
        self.now = now or self.now
        loop = Budgets(self.api.database, self.api.world.cloud, lambda: self.now)
        asyncio.run(loop.run())


@pytest.fixture
def client(api):
    api.client(api.world.one, "sns").create_topic(Name="spending")
    return api.client(api.world.one, "budgets")


@pytest.fixture
def looking(api):
    return Looking(api)


def create(client, *notifications, **changes):
    """A budget of a hundredth of a dollar a day, which is two and a half hours of a NAT gateway."""
    client.create_budget(
        AccountId=MINE,
        Budget={
            "BudgetName": "day",
            "BudgetType": "COST",
            "TimeUnit": "DAILY",
            "BudgetLimit": {"Amount": "0.01", "Unit": "USD"},
            "TimePeriod": {"Start": TOMORROW},
        }
        | changes,
        NotificationsWithSubscribers=[{"Notification": each, "Subscribers": [TOLD]} for each in notifications],
    )


def states(client):
    found = client.describe_notifications_for_budget(**ABOUT)["Notifications"]
    return sorted((each["NotificationType"], each["NotificationState"]) for each in found)


@pytest.fixture
def came(api, client, sending, receiver):
    """Gives the subjects and texts that came by now."""
    subscribe(api.client(api.world.one, "sns"), sending, receiver, TOPIC)

    def gather():
        asyncio.run(sending.run(seconds=5 * 86400))
        fields = [one.fields for one in receiver.arrived]
        return [(one["Subject"], one["Message"]) for one in fields if one["Type"] == "Notification"]

    return gather


def test_one_that_two_tags_filter_is_looked_at_less_often(api, client, looking):
    """Each look at it reads every line of the ledger."""

    def tag(key):
        return {"Tags": {"Key": key, "Values": ["web"]}}

    for name, found in (("one", tag("team")), ("two", {"And": [tag("team"), tag("env")]})):
        create(client, BudgetName=name, FilterExpression=found, Metrics=["UnblendedCost"])
    looking.run(NOON)
    due = api.run(lambda tx: dict(tx.session.execute(select(Budget.name, Budget.due)).all()))
    assert due == {"one": NOON + due_budgets.EACH, "two": NOON + due_budgets.EACH_BY_LINES}


def test_a_threshold_is_told_once_for_each_period(api, client, looking, came):
    create(client, OVER)
    use(api, 2, NOON)
    looking.run(NOON)
    assert states(client) == [("ACTUAL", "OK")]
    use(api, 1, NOON)
    looking.run(NOON + timedelta(minutes=1))  # it is not looked at again as early as that
    assert states(client) == [("ACTUAL", "OK")]
    looking.run(NOON + due_budgets.EACH)
    assert states(client) == [("ACTUAL", "ALARM")]
    looking.run(NOON + timedelta(hours=1))
    [(subject, text)] = came()
    assert subject == "AWS Budgets: day has exceeded your alert threshold"
    assert "Budget Name: day\nBudget Type: Cost\nBudgeted Amount: $0.01\nAlert Type: ACTUAL\n" in text
    assert "Alert Threshold: > $0.01\nACTUAL Amount: $0.01\n" in text
    looking.run(NOON + timedelta(days=1))
    assert states(client) == [("ACTUAL", "OK")]
    use(api, 5, NOON + timedelta(days=1))
    looking.run(NOON + timedelta(days=1, minutes=5))
    assert len(came()) == 2


def test_what_is_crossed_while_no_controller_runs_is_told_later(api, client, looking, came):
    create(client, OVER)
    looking.run(NOON)
    use(api, 3, TOMORROW + timedelta(days=1))  # until midnight
    looking.run(TOMORROW + timedelta(days=3, hours=1))
    assert len(came()) == 1
    assert states(client) == [("ACTUAL", "OK")]


def test_a_budget_that_changes_meanwhile_is_judged_anew(api, client, looking, came):
    create(client, OVER)
    use(api, 3, NOON)
    judged = api.run(due_budgets.judge_next, "us-east-1", NOON)
    more = {"BudgetType": "COST", "TimeUnit": "DAILY", "BudgetLimit": {"Amount": "1", "Unit": "USD"}}
    client.update_budget(AccountId=MINE, NewBudget={"BudgetName": "day"} | more)
    api.run(due_budgets.settle, judged, NOON)
    looking.run()
    assert states(client) == [("ACTUAL", "OK")]
    assert came() == []


def test_a_changed_limit_is_told_of_anew(api, client, looking, came):
    create(client, OVER)
    use(api, 3, NOON)
    looking.run()
    client.update_notification(**ABOUT, OldNotification=OVER, NewNotification=OVER)
    more = {"BudgetName": "day", "BudgetType": "COST", "TimeUnit": "DAILY"}
    same = {"BudgetLimit": {"Amount": "0.01", "Unit": "USD"}}
    client.update_budget(AccountId=MINE, NewBudget=more | same)
    looking.run()
    assert len(came()) == 1
    client.update_budget(AccountId=MINE, NewBudget=more | {"BudgetLimit": {"Amount": "0.011", "Unit": "USD"}})
    looking.run()
    assert len(came()) == 2


def test_forecasts_and_absolute_thresholds_are_told(api, client, looking, came):
    soon = {"NotificationType": "FORECASTED", "ThresholdType": "ABSOLUTE_VALUE", "Threshold": 0.055}
    create(client, OVER | soon, OVER | {"ComparisonOperator": "LESS_THAN", "Threshold": 50.0})
    for ago in range(4):
        use(api, 24, TOMORROW - timedelta(days=ago))
    use(api, 1, NOON)
    looking.run()
    assert states(client) == [("ACTUAL", "ALARM"), ("FORECASTED", "OK")]
    use(api, 2, NOON)
    looking.run(NOON + due_budgets.EACH)
    assert states(client) == [("ACTUAL", "OK"), ("FORECASTED", "ALARM")]
    subjects = [text for _, text in came()]
    assert len(subjects) == 2
    assert "FORECASTED Amount: $0.06" in subjects[1]


def test_a_budget_whose_time_is_over_is_judged_once_more_and_deleted(api, client, looking, came):
    create(client, OVER, TimePeriod={"Start": TOMORROW, "End": TOMORROW + timedelta(days=1)})
    looking.run(NOON)
    use(api, 3, TOMORROW + timedelta(days=1))
    looking.run(TOMORROW + timedelta(days=1))
    assert len(came()) == 1
    refused("NotFoundException", client.describe_budget, **ABOUT)


def test_what_it_costs_to_look(api, client, looking):
    """Two queries while nothing is due, whatever number of budgets there is, and as many for each that is."""
    for number in range(12):
        create(client, OVER, BudgetName=f"b{number:02}")
    asked = []

    def note(_connection, _cursor, statement, *_rest):
        if not statement.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")):
            asked.append(statement)

    def counted(at):
        asked.clear()
        looking.run(at)
        return len(asked)

    event.listen(api.database.engine, "before_cursor_execute", note)
    try:
        of_all = counted(NOON)
        assert counted(NOON + timedelta(minutes=1)) == 2
        client.delete_budget(AccountId=MINE, BudgetName="b00")
        for number in range(1, 7):
            client.delete_budget(AccountId=MINE, BudgetName=f"b{number:02}")
        of_some = counted(NOON + due_budgets.EACH)
    finally:
        event.remove(api.database.engine, "before_cursor_execute", note)
    assert (of_all - 2) / 12 <= 20
    assert (of_some - 2) / 5 <= 20


ACTION = {
    **ABOUT,
    "NotificationType": "ACTUAL",
    "ActionThreshold": {"ActionThresholdValue": 100.0, "ActionThresholdType": "PERCENTAGE"},
    "ExecutionRoleArn": f"arn:aws:iam::{MINE}:role/saver",
    "Subscribers": [TOLD],
}


@pytest.fixture
def iam(api):
    """With a role that stops instances and attaches policies, a policy, a user and a group."""
    iam = api.client(api.world.one, "iam")
    trusted = trust({"Service": "budgets.amazonaws.com"})
    iam.create_role(RoleName="saver", AssumeRolePolicyDocument=trusted)
    rights = document("ec2:StopInstances", "ec2:StartInstances", "iam:AttachUserPolicy", "iam:DetachUserPolicy")
    iam.put_role_policy(RoleName="saver", PolicyName="save", PolicyDocument=rights)
    iam.create_policy(PolicyName="nothing", PolicyDocument=document("*", effect="Deny"))
    iam.create_user(UserName="eve")
    iam.create_group(GroupName="all")
    return iam


def stopping(client, *instances, approval="AUTOMATIC"):
    ids = {"ActionSubType": "STOP_EC2_INSTANCES", "Region": "us-east-1", "InstanceIds": list(instances)}
    kind = {"ActionType": "RUN_SSM_DOCUMENTS", "Definition": {"SsmActionDefinition": ids}, "ApprovalModel": approval}
    return client.create_budget_action(**ACTION, **kind)["ActionId"]


def denying(client, approval="AUTOMATIC", **whom):
    about = {"PolicyArn": DENY, **(whom or {"Users": ["eve"]})}
    kind = {"ActionType": "APPLY_IAM_POLICY", "Definition": {"IamActionDefinition": about}, "ApprovalModel": approval}
    return client.create_budget_action(**ACTION, **kind)["ActionId"]


def status(client, action):
    return client.describe_budget_action(**ABOUT, ActionId=action)["Action"]["Status"]


def ask(client, action, what):
    client.execute_budget_action(**ABOUT, ActionId=action, ExecutionType=f"{what}_BUDGET_ACTION")


def state_of(api, instance):
    return api.run(lambda tx: tx.session.get_one(Instance, instance).state)


def test_instances_are_stopped(api, client, looking, iam, came):
    instance = api.launch(number=1)
    create(client)
    action = stopping(client, instance)
    looking.run()
    assert status(client, action) == "STANDBY"
    use(api, 3, NOON)
    looking.run(NOON + due_budgets.EACH)
    assert status(client, action) == "EXECUTION_SUCCESS"
    assert state_of(api, instance) == "stopping"
    looking.run(NOON + timedelta(hours=1))
    [(subject, text)] = came()
    assert subject == "AWS Budgets: action of day: EXECUTION_SUCCESS"
    assert f"Action Id: {action}" in text
    looking.run(NOON + timedelta(days=1))
    assert status(client, action) == "STANDBY"
    history = client.describe_budget_action_histories(**ABOUT, ActionId=action)["ActionHistories"]
    steps = [(each["EventType"], each["Status"]) for each in history]
    assert steps == [
        ("SYSTEM", "STANDBY"),
        ("SYSTEM", "EXECUTION_SUCCESS"),
        ("SYSTEM", "EXECUTION_IN_PROGRESS"),
        ("CREATE_ACTION", "STANDBY"),
    ]


def test_a_policy_is_attached_when_it_is_approved_and_detached_again(api, client, looking, iam):
    create(client)
    use(api, 3, NOON)
    action = denying(client, approval="MANUAL")
    looking.run()
    assert status(client, action) == "PENDING"
    refused("InvalidParameterException", ask, client=client, action=action, what="RETRY")
    ask(client, action, "APPROVE")
    assert status(client, action) == "EXECUTION_IN_PROGRESS"
    refused("ResourceLockedException", client.delete_budget_action, **ABOUT, ActionId=action)
    looking.run()
    attached = iam.list_attached_user_policies(UserName="eve")["AttachedPolicies"]
    assert [each["PolicyArn"] for each in attached] == [DENY]
    assert status(client, action) == "EXECUTION_SUCCESS"
    ask(client, action, "REVERSE")
    looking.run()
    assert status(client, action) == "REVERSE_SUCCESS"
    assert iam.list_attached_user_policies(UserName="eve")["AttachedPolicies"] == []
    ask(client, action, "RESET")
    looking.run()
    assert status(client, action) == "PENDING"


def test_an_action_may_do_what_its_role_may(api, client, looking, iam):
    create(client)
    use(api, 3, NOON)
    action = denying(client, Users=["eve"], Groups=["all"])
    looking.run()
    assert status(client, action) == "EXECUTION_FAILURE"
    assert iam.list_attached_user_policies(UserName="eve")["AttachedPolicies"] == []  # undone as a whole
    newest = client.describe_budget_action_histories(**ABOUT, ActionId=action, MaxResults=1)["ActionHistories"][0]
    assert "does not allow budgets.amazonaws.com to iam:AttachGroupPolicy" in newest["ActionHistoryDetails"]["Message"]
    rights = document("iam:AttachUserPolicy", "iam:AttachGroupPolicy")
    iam.put_role_policy(RoleName="saver", PolicyName="more", PolicyDocument=rights)
    ask(client, action, "RETRY")
    looking.run()
    assert status(client, action) == "EXECUTION_SUCCESS"
    iam.update_assume_role_policy(RoleName="saver", PolicyDocument=trust())
    ask(client, action, "REVERSE")
    looking.run()
    assert status(client, action) == "REVERSE_FAILURE"


def test_the_role_may_be_let_attach_one_policy_only(api, client, looking, iam):
    create(client)
    use(api, 3, NOON)
    only = json.loads(document("iam:AttachUserPolicy"))
    only["Statement"][0]["Condition"] = {"ArnEquals": {"iam:PolicyARN": DENY}}
    iam.put_role_policy(RoleName="saver", PolicyName="save", PolicyDocument=json.dumps(only))
    action = denying(client)
    looking.run()
    assert status(client, action) == "EXECUTION_SUCCESS"


def test_instances_that_cannot_be_stopped_fail_the_action_and_are_started_again(api, client, looking, iam):
    instance = api.launch(number=1)
    create(client)
    use(api, 3, NOON)
    action = stopping(client, instance, "i-0123456789abcdef0")
    looking.run()
    assert status(client, action) == "EXECUTION_FAILURE"
    assert state_of(api, instance) == "running"
    ids = {"ActionSubType": "STOP_EC2_INSTANCES", "Region": "us-east-1", "InstanceIds": [instance]}
    client.update_budget_action(**ABOUT, ActionId=action, Definition={"SsmActionDefinition": ids})
    ask(client, action, "RETRY")
    looking.run()
    assert state_of(api, instance) == "stopping"

    def off(tx):
        tx.session.get_one(Instance, instance).state = "stopped"

    api.run(off)
    ask(client, action, "REVERSE")
    looking.run()
    assert status(client, action) == "REVERSE_SUCCESS"
    assert state_of(api, instance) == "pending"


def test_an_action_is_carried_out_again_after_a_kill(api, client, looking, iam, came):
    """Whenever the controller is killed: what is committed is one state before or after, and nothing is told twice."""
    create(client)
    use(api, 3, NOON)
    action = denying(client)
    judged = api.run(due_budgets.judge_next, "us-east-1", NOON)
    api.run(due_budgets.settle, judged, NOON)
    api.run(due_budgets.settle, judged, NOON)
    assert status(client, action) == "EXECUTION_IN_PROGRESS"
    with pytest.raises(RuntimeError):
        api.run(killed_after, api.world.cloud, action)
    assert status(client, action) == "EXECUTION_IN_PROGRESS"
    looking.run()
    looking.run()
    assert status(client, action) == "EXECUTION_SUCCESS"
    assert len(came()) == 1


def test_what_is_not_to_be_carried_out_is_left_alone(api, client, looking, iam, came):
    """Another controller may have carried it out, or its budget be deleted, since it was seen in the list."""
    create(client)
    action = denying(client)
    assert status(client, action) == "STANDBY"
    for one in (action, "a" * 36):
        api.run(execution.run, api.world.cloud, one, NOON)
        api.run(execution.give_up, one, NOON)
    assert status(client, action) == "STANDBY"
    assert came() == []


def killed_after(tx, cloud, action):
    execution.run(tx, cloud, action, NOON)
    raise RuntimeError


def test_a_budget_ends_after_its_actions(api, client, looking, iam):
    create(client, TimePeriod={"Start": TOMORROW, "End": TOMORROW + timedelta(days=1)})
    action = denying(client)
    use(api, 3, TOMORROW + timedelta(days=1))
    looking.run(TOMORROW + timedelta(days=1))
    assert len(iam.list_attached_user_policies(UserName="eve")["AttachedPolicies"]) == 1
    assert status(client, action) == "EXECUTION_SUCCESS"
    looking.run(TOMORROW + timedelta(days=1, minutes=1))
    assert api.run(lambda tx: tx.session.get(Budget, (MINE, "day"))) is None


def test_lists_of_actions_and_what_is_refused(api, client, iam):
    create(client)
    found = {denying(client), denying(client)}
    first = client.describe_budget_actions_for_account(AccountId=MINE, MaxResults=1)
    rest = client.describe_budget_actions_for_account(AccountId=MINE, NextToken=first["NextToken"])
    assert {each["ActionId"] for each in first["Actions"] + rest["Actions"]} == found
    assert len(client.describe_budget_actions_for_budget(**ABOUT)["Actions"]) == 2
    changed = client.update_budget_action(**ABOUT, ActionId=found.pop(), ApprovalModel="MANUAL")
    assert (changed["OldAction"]["ApprovalModel"], changed["NewAction"]["ApprovalModel"]) == ("AUTOMATIC", "MANUAL")
    gone = found.pop()
    client.delete_budget_action(**ABOUT, ActionId=gone)
    refused("NotFoundException", client.describe_budget_action, **ABOUT, ActionId=gone)
    scp = {"ActionType": "APPLY_SCP_POLICY", "ApprovalModel": "MANUAL"}
    scp |= {"Definition": {"ScpActionDefinition": {"PolicyId": "p-12345678", "TargetIds": [MINE]}}}
    assert "no organizations" in api.refused("UnsupportedOperation", client.create_budget_action, **ACTION, **scp)
    iam.update_assume_role_policy(RoleName="saver", PolicyDocument=trust())
    assert "may assume" in refused("InvalidParameterException", denying, client=client)
