"""AWS Budgets by boto3 and by the aws command: budgets, what they amount to, their notifications and tags."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.db.tables import UsageLine
from tests.api.identity import document, refused, who_may
from tests.support.clients import Account

MINE, OTHERS = "111111111111", "222222222222"
TOPIC = f"arn:aws:sns:us-east-1:{MINE}:spending"
BOX = 2 * 0.0025 + 0.0006  # an hour of t3.micro by the default prices: two vCPUs and one GiB
USD = {"Amount": "10", "Unit": "USD"}
MONTHLY = {"BudgetName": "all", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": USD}
OVER = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
TOLD = {"SubscriptionType": "SNS", "Address": TOPIC}
NOW = datetime(2028, 2, 29, 23, 59, 50, tzinfo=UTC)
MONTH = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def used(tx, account_id, hours, *, usage="BoxUsage:t3.micro", until=NOW):
    ended = int(until.timestamp())
    tx.session.add(
        UsageLine(
            account_id=account_id, resource_id="i-1", usage=usage, operation="RunInstances", zone="us-east-1a",
            quantity=1, began=ended - hours * 3600, ended=ended,
        )
    )  # fmt: skip


@pytest.fixture
def client(api, at):
    at(NOW)
    api.client(api.world.one, "sns").create_topic(Name="spending")
    return api.client(api.world.one, "budgets")


def create(client, *, notified=(), tags=(), **changes):
    budget = {name: value for name, value in (MONTHLY | changes).items() if value is not None}
    return client.create_budget(
        AccountId=MINE,
        Budget=budget,
        NotificationsWithSubscribers=[{"Notification": each, "Subscribers": [TOLD]} for each in notified],
        ResourceTags=[{"Key": key, "Value": value} for key, value in tags],
    )


def show(client, name="all", **asked):
    return client.describe_budget(AccountId=MINE, BudgetName=name, **asked)["Budget"]


def test_a_budget_is_made_shown_changed_and_deleted(client):
    create(client)
    found = show(client)
    assert found["BudgetLimit"] == USD
    assert found["TimePeriod"] == {"Start": MONTH, "End": datetime(2087, 6, 15, tzinfo=UTC)}
    assert found["CalculatedSpend"] == {"ActualSpend": {"Amount": "0", "Unit": "USD"}}
    assert found["CostFilters"] == {}
    assert found["CostTypes"]["IncludeTax"] is True
    assert found["CostTypes"]["UseBlended"] is False
    refused("DuplicateRecordException", create, client=client)
    client.update_budget(AccountId=MINE, NewBudget=MONTHLY | {"BudgetLimit": {"Amount": "12.5", "Unit": "USD"}})
    assert show(client)["BudgetLimit"]["Amount"] == "12.5"
    client.delete_budget(AccountId=MINE, BudgetName="all")
    refused("NotFoundException", show, client=client)
    refused("NotFoundException", client.delete_budget, AccountId=MINE, BudgetName="all")


def test_what_is_spent_is_what_cost_explorer_says(api, client):
    def live(tx):
        used(tx, MINE, 5)
        used(tx, MINE, 3, usage="NatGateway-Hours", until=NOW - timedelta(hours=1))
        used(tx, OTHERS, 7)

    api.run(live)
    service = "Amazon Elastic Compute Cloud - Compute"
    chosen = {"Dimensions": {"Key": "SERVICE", "Values": [service]}}
    hours = {"BudgetType": "USAGE", "BudgetLimit": {"Amount": "100", "Unit": "Hrs"}}
    day = {"TimeUnit": "DAILY"}
    create(client, BudgetName="old", CostFilters={"Service": [service]}, CostTypes={"UseBlended": True}, **day)
    create(client, BudgetName="new", FilterExpression=chosen, Metrics=["UnblendedCost"], **day)
    create(client, BudgetName="hours", **hours, **day)
    costs = api.client(api.world.one, "ce")
    today = NOW
    tomorrow = today + timedelta(days=1)
    period = {"Start": f"{today:%Y-%m-%d}", "End": f"{tomorrow:%Y-%m-%d}"}
    asked = {"TimePeriod": period, "Granularity": "DAILY", "Metrics": ["UnblendedCost", "UsageQuantity"]}
    [whole] = costs.get_cost_and_usage(**asked)["ResultsByTime"]
    [some] = costs.get_cost_and_usage(**asked, Filter=chosen)["ResultsByTime"]
    for name in ("old", "new"):
        assert show(client, name)["CalculatedSpend"]["ActualSpend"] == some["Total"]["UnblendedCost"]
    assert show(client, "hours")["CalculatedSpend"]["ActualSpend"] == whole["Total"]["UsageQuantity"]
    assert show(client, "new", ShowFilterExpression=True)["FilterExpression"] == chosen
    assert "FilterExpression" not in show(client, "new")
    assert show(client, "new")["Metrics"] == ["UnblendedCost"]
    assert show(client, "old")["CostFilters"] == {"Service": [service]}
    assert show(client, "old")["CostTypes"]["UseBlended"] is True


def test_a_forecast_adds_what_days_to_come_will_be(api, client):
    def live(tx):
        for ago in range(1, 6):
            midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=ago - 1)
            used(tx, MINE, 24, until=midnight)

    api.run(live)
    year = {"TimeUnit": "ANNUALLY", "BudgetName": "year"}
    create(client, **year)
    spend = show(client, "year")["CalculatedSpend"]
    left = (datetime(NOW.year + 1, 1, 1, tzinfo=UTC) - NOW) / timedelta(days=1)
    actual, forecast = (float(spend[name]["Amount"]) for name in ("ActualSpend", "ForecastedSpend"))
    assert forecast - actual == pytest.approx(left * 24 * BOX, rel=0.001, abs=BOX)


def test_pages_and_history(api, client):
    api.run(used, MINE, 5, until=MONTH)
    for name in "abc":
        create(
            client, BudgetName=name, TimePeriod={"Start": MONTH - timedelta(days=40), "End": NOW + timedelta(days=90)}
        )
    first = client.describe_budgets(AccountId=MINE, MaxResults=2)
    rest = client.describe_budgets(AccountId=MINE, MaxResults=2, NextToken=first["NextToken"])
    assert [each["BudgetName"] for each in first["Budgets"] + rest["Budgets"]] == ["a", "b", "c"]
    assert "NextToken" not in rest
    refused("InvalidNextTokenException", client.describe_budgets, AccountId=MINE, NextToken="nonsense")
    history = client.describe_budget_performance_history(AccountId=MINE, BudgetName="a")["BudgetPerformanceHistory"]
    rows = history["BudgetedAndActualAmountsList"]
    assert [row["TimePeriod"]["End"] for row in rows[1:]] == [row["TimePeriod"]["Start"] for row in rows[:-1]]
    assert float(rows[1]["ActualAmount"]["Amount"]) == pytest.approx(5 * BOX)
    assert rows[0]["BudgetedAmount"] == USD
    create(client, BudgetName="year", TimeUnit="ANNUALLY")
    refused("InvalidParameterException", client.describe_budget_performance_history, AccountId=MINE, BudgetName="year")


def test_notifications_and_their_subscribers(api, client):
    create(client, notified=[OVER])
    about = {"AccountId": MINE, "BudgetName": "all"}
    refused("DuplicateRecordException", client.create_notification, **about, Notification=OVER, Subscribers=[TOLD])
    soon = OVER | {"NotificationType": "FORECASTED", "ThresholdType": "ABSOLUTE_VALUE"}
    client.create_notification(**about, Notification=soon, Subscribers=[TOLD])
    found = client.describe_notifications_for_budget(**about)["Notifications"]
    shown = [each | {"NotificationState": "OK"} for each in (OVER | {"ThresholdType": "PERCENTAGE"}, soon)]
    assert sorted(found, key=str) == sorted(shown, key=str)
    [of_account] = client.describe_budget_notifications_for_account(AccountId=MINE)["BudgetNotificationsForAccount"]
    assert (of_account["BudgetName"], len(of_account["Notifications"])) == ("all", 2)
    assert client.describe_subscribers_for_notification(**about, Notification=found[0])["Subscribers"] == [TOLD]
    another = TOLD | {"Address": f"{TOPIC}-2"}
    refused("InvalidParameterException", client.create_subscriber, **about, Notification=OVER, Subscriber=another)
    api.client(api.world.one, "sns").create_topic(Name="spending-2")
    refused("CreationLimitExceededException", client.create_subscriber, **about, Notification=OVER, Subscriber=another)
    refused("DuplicateRecordException", client.create_subscriber, **about, Notification=OVER, Subscriber=TOLD)
    client.update_subscriber(**about, Notification=OVER, OldSubscriber=TOLD, NewSubscriber=another)
    refused("NotFoundException", client.delete_subscriber, **about, Notification=OVER, Subscriber=TOLD)
    client.update_notification(**about, OldNotification=OVER, NewNotification=OVER | {"Threshold": 90})
    refused("NotFoundException", client.delete_notification, **about, Notification=OVER)
    again = {"OldNotification": soon, "NewNotification": OVER | {"Threshold": 90}}
    refused("DuplicateRecordException", client.update_notification, **about, **again)
    client.delete_subscriber(**about, Notification=OVER | {"Threshold": 90}, Subscriber=another)
    client.delete_notification(**about, Notification=soon)
    assert client.describe_notifications_for_budget(**about)["Notifications"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"BudgetType": "RI_UTILIZATION"}, "RI_UTILIZATION are not supported"),
        ({"AutoAdjustData": {"AutoAdjustType": "FORECAST"}}, "AutoAdjustData is not supported"),
        ({"CalculatedSpend": {"ActualSpend": USD}}, "CalculatedSpend is told of a budget; to give it is not supported"),
        ({"CostTypes": {"IncludeTax": False}}, "IncludeTax false is not supported"),
        ({"CostTypes": {"UseBlended": True, "UseAmortized": True}}, "Only one of"),
        ({"CostFilters": {"PurchaseType": ["Spot"]}}, "PurchaseType is not supported"),
        ({"CostFilters": {"TagKeyValue": ["team"]}}, "key$value"),
        ({"CostFilters": {"Service": ["x"]}, "Metrics": ["UnblendedCost"]}, "cannot be given with"),
        ({"Metrics": ["UsageQuantity"]}, "not supported for budgets"),
        ({"FilterExpression": {"Dimensions": {"Key": "RESOURCE_ID", "Values": ["i-1"]}}}, "RESOURCE_ID is not supported"),
        ({"BudgetLimit": {"Amount": "1", "Unit": "EUR"}}, "that of the prices of this cloud: USD"),
        ({"BudgetLimit": {"Amount": "0", "Unit": "USD"}}, "above zero"),
        ({"BudgetLimit": None}, "BudgetLimit"),
        ({"BudgetType": "USAGE"}, "unit of a usage budget"),
        ({"BudgetName": "a:b"}, "without : and"),
        ({"BudgetName": "a/action/b"}, "without : and"),
        ({"TimeUnit": "CUSTOM"}, "needs its Start and its End"),
        ({"TimeUnit": "CUSTOM", "TimePeriod": {"Start": datetime(2020, 1, 1, tzinfo=UTC), "End": datetime(2031, 1, 1, tzinfo=UTC)}}, "ten years"),
        ({"TimePeriod": {"End": datetime(2020, 1, 1, tzinfo=UTC)}}, "must lie"),
        ({"PlannedBudgetLimits": {"1": USD}}, "Only one of"),
        ({"PlannedBudgetLimits": {"1": USD}, "BudgetLimit": None}, "next 12 months"),
        ({"PlannedBudgetLimits": {"1": USD}, "BudgetLimit": None, "TimeUnit": "DAILY"}, "that are MONTHLY or QUARTERLY"),
        ({"PlannedBudgetLimits": {"soon": USD}, "BudgetLimit": None}, "are seconds since 1970"),
        ({"PlannedBudgetLimits": {"1": USD, "2": USD | {"Unit": "EUR"}}, "BudgetLimit": None}, "must have the same unit"),
        ({"PlannedBudgetLimits": {"1" * 13: USD}, "BudgetLimit": None}, "are seconds since 1970"),
    ],
)  # fmt: skip
def test_a_bad_budget_is_refused(api, client, changes, words):
    code = "UnsupportedOperation" if "supported" in words else "InvalidParameterException"
    assert words in api.refused(code, lambda: create(client, **changes))


def test_mail_is_refused_in_words(api, client):
    create(client)
    mail = {"SubscriptionType": "EMAIL", "Address": "a@example.org"}
    asked = {"AccountId": MINE, "BudgetName": "all", "Notification": OVER, "Subscribers": [mail]}
    assert "sends no mail" in api.refused("UnsupportedOperation", client.create_notification, **asked)


def test_no_more_than_ten_notifications(client):
    create(client, notified=[OVER | {"Threshold": float(each)} for each in range(10)])
    asked = {"AccountId": MINE, "BudgetName": "all", "Notification": OVER, "Subscribers": [TOLD]}
    refused("CreationLimitExceededException", client.create_notification, **asked)


def test_tags(client):
    create(client, tags=[("a", "1"), ("b", "2")])
    arn = f"arn:aws:budgets::{MINE}:budget/all"
    client.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": "c", "Value": "3"}])
    client.untag_resource(ResourceARN=arn, ResourceTagKeys=["a"])
    found = client.list_tags_for_resource(ResourceARN=arn)["ResourceTags"]
    assert found == [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}]
    refused("NotFoundException", client.list_tags_for_resource, ResourceARN=arn + "s")
    refused("InvalidParameterException", client.list_tags_for_resource, ResourceARN="arn:aws:budgets::1:budget/all")
    theirs = f"arn:aws:budgets::{OTHERS}:budget/all"
    refused("AccessDeniedException", client.list_tags_for_resource, ResourceARN=theirs)


def test_another_accounts_budgets_are_nobodys(api, client):
    create(client)
    theirs = api.client(api.world.other, "budgets")
    refused("AccessDeniedException", theirs.describe_budgets, AccountId=MINE)
    refused("AccessDeniedException", theirs.describe_budget, AccountId=MINE, BudgetName="all")
    refused("NotFoundException", theirs.describe_budget, AccountId=OTHERS, BudgetName="all")
    assert theirs.describe_budgets(AccountId=OTHERS).get("Budgets", []) == []


def test_users_need_rights_on_budgets(api, client):
    create(client)
    iam = api.client(api.world.one, "iam")
    reader = who_may(api, iam, "reader", "budgets:ViewBudget")("budgets")
    assert show(reader)["BudgetName"] == "all"
    refused("AccessDeniedException", reader.delete_budget, AccountId=MINE, BudgetName="all")
    iam.put_user_policy(
        UserName="reader",
        PolicyName="more",
        PolicyDocument=document("budgets:ModifyBudget", resource=f"arn:aws:budgets::{MINE}:budget/mine"),
    )
    create(reader, BudgetName="mine")
    refused("AccessDeniedException", create, client=reader, BudgetName="else")
    refused("AccessDeniedException", create, client=reader, BudgetName="mine", tags=[("a", "b")])


def test_rights_may_depend_on_tags(api, client):
    create(client, tags=[("team", "web")])
    create(client, BudgetName="else", tags=[("team", "x")])
    iam = api.client(api.world.one, "iam")
    user = who_may(api, iam, "reader", "budgets:ListTagsForResource")("budgets")
    may = json.loads(document("budgets:ViewBudget"))
    may["Statement"][0]["Condition"] = {"StringEquals": {"aws:ResourceTag/team": "web"}}
    iam.put_user_policy(UserName="reader", PolicyName="more", PolicyDocument=json.dumps(may))
    assert show(user)["BudgetName"] == "all"
    refused("AccessDeniedException", show, client=user, name="else")


def test_planned_limits_change_by_month(client):
    keys = [
        str(
            int(datetime(NOW.year + (NOW.month - 1 + n) // 12, (NOW.month - 1 + n) % 12 + 1, 1, tzinfo=UTC).timestamp())
        )
        for n in range(12)
    ]
    planned = {key: {"Amount": str(10 + n), "Unit": "USD"} for n, key in enumerate(keys)}
    create(client, BudgetLimit=None, PlannedBudgetLimits=planned)
    found = show(client)
    assert found["PlannedBudgetLimits"] == planned
    assert found["BudgetLimit"] == USD


def test_the_aws_command_makes_and_shows_a_budget(account: Account) -> None:
    own = account.aws("sts", "get-caller-identity")["Account"]
    named = ["--account-id", own, "--budget-name", "by-command"]
    account.aws(
        "budgets", "create-budget", "--account-id", own, "--budget", json.dumps(MONTHLY | {"BudgetName": "by-command"})
    )
    try:
        found = account.aws("budgets", "describe-budget", *named)["Budget"]
        assert (found["BudgetLimit"], found["CalculatedSpend"]["ActualSpend"]["Unit"]) == (USD, "USD")
    finally:
        account.aws("budgets", "delete-budget", *named)
