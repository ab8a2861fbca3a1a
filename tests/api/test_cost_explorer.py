"""Cost Explorer by boto3 and by the aws command: an account's own costs, by its dimensions and tags."""

import calendar
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.db.tables import CostTag, UsageLine, UsageTag
from tests.api.conftest import SECRET
from tests.api.identity import refused, who_may
from tests.support.clients import Account

BOX = 2 * 0.0025 + 0.0006  # an hour of t3.micro by the default prices: two vCPUs and one GiB
NOW = datetime(2027, 1, 31, 23, 59, 50, tzinfo=UTC)
COMPUTE = "Amazon Elastic Compute Cloud - Compute"


def day(ago, now=NOW):
    return (now - timedelta(days=ago)).replace(hour=0, minute=0, second=0, microsecond=0)


def period(first=5, last=0):
    return {"Start": f"{day(first):%Y-%m-%d}", "End": f"{day(last):%Y-%m-%d}"}


def by(*keys):
    return [{"Type": "DIMENSION", "Key": key} for key in keys]


def used(  # noqa: PLR0917 - what a line of the ledger has
    tx, account_id, resource, usage, operation, first, hours, quantity=1, zone="us-east-1a", *, counted=False, now=NOW
):
    began = int(day(first, now).timestamp())
    tx.session.add(
        UsageLine(
            account_id=account_id, resource_id=resource, usage=usage, operation=operation, zone=zone,
            quantity=quantity, began=began, ended=began + (1 if counted else hours * 3600),
        )
    )  # fmt: skip


@pytest.fixture
def costs(api, at):
    """The first tenant's client; both tenants used something in the last days, which had a tag."""

    def live(tx):
        one, other = (tenant.caller.account_id for tenant in (api.world.one, api.world.other))
        used(tx, one, "i-1", "BoxUsage:t3.micro", "RunInstances", 4, 30)
        used(tx, one, "i-2", "SpotUsage:t3.micro", "RunInstances", 2, 2)
        used(tx, one, "nat-1", "NatGateway-Hours", "NatGateway", 4, 48, zone="")
        used(tx, other, "i-9", "BoxUsage:t3.micro", "RunInstances", 4, 24)
        tx.session.add(CostTag(account_id=one, key="team", active=True, changed=0))
        began = int(day(3).timestamp())
        tx.session.add(UsageTag(account_id=one, key="team", resource_id="i-1", began=began, ended=None, value="a"))

    api.run(live)
    at(NOW)
    return api.client(api.world.one, "ce")


def amounts(found, metric="UnblendedCost"):
    """The amounts by their groups, of each part in which there is any."""
    return [
        {tuple(group["Keys"]): float(group["Metrics"][metric]["Amount"]) for group in part["Groups"]}
        for part in found["ResultsByTime"]
        if part["Groups"]
    ]


def test_each_day_has_its_total(costs):
    found = costs.get_cost_and_usage(
        TimePeriod=period(), Granularity="DAILY", Metrics=["UnblendedCost", "UsageQuantity"]
    )
    assert "GroupDefinitions" not in found
    totals = [part["Total"] for part in found["ResultsByTime"]]
    assert [part["TimePeriod"] for part in found["ResultsByTime"]] == [period(ago, ago - 1) for ago in (5, 4, 3, 2, 1)]
    assert totals[0] == {
        "UnblendedCost": {"Amount": "0", "Unit": "USD"},
        "UsageQuantity": {"Amount": "0", "Unit": "N/A"},
    }
    assert float(totals[1]["UnblendedCost"]["Amount"]) == pytest.approx(24 * BOX + 24 * 0.004)
    assert totals[1]["UsageQuantity"] == {"Amount": "48", "Unit": "Hrs"}
    assert [part["Estimated"] for part in found["ResultsByTime"]] == [False] * 5
    assert [part["Groups"] for part in found["ResultsByTime"]] == [[]] * 5


def test_groups_by_dimensions_and_tags(costs):
    asked = {"TimePeriod": period(), "Granularity": "DAILY", "Metrics": ["UnblendedCost", "NormalizedUsageAmount"]}
    found = costs.get_cost_and_usage(**asked, GroupBy=by("SERVICE", "INSTANCE_TYPE"))
    assert found["GroupDefinitions"] == by("SERVICE", "INSTANCE_TYPE")
    first = amounts(found)[0]
    assert first == {
        (COMPUTE, "t3.micro"): pytest.approx(24 * BOX),
        ("EC2 - Other", "NoInstanceType"): pytest.approx(24 * 0.004),
    }
    assert amounts(found, "NormalizedUsageAmount")[0][COMPUTE, "t3.micro"] == 12
    tagged = costs.get_cost_and_usage(**asked, GroupBy=[{"Type": "TAG", "Key": "team"}])
    assert [sorted(part) for part in amounts(tagged)] == [[("team$",)], [("team$",), ("team$a",)], [("team$",)]]
    assert amounts(tagged)[1]["team$a",] == pytest.approx(6 * BOX)


def test_filters_and_months(costs):
    asked = {"TimePeriod": period(4), "Granularity": "MONTHLY", "Metrics": ["BlendedCost"]}
    spot = {"Dimensions": {"Key": "USAGE_TYPE", "Values": ["SpotUsage:t3.micro"]}}
    untagged = {"Tags": {"Key": "team", "MatchOptions": ["ABSENT"]}}

    def total(chosen):
        found = costs.get_cost_and_usage(**asked, Filter=chosen)["ResultsByTime"]
        return sum(float(part["Total"]["BlendedCost"]["Amount"]) for part in found)

    assert total(spot) == pytest.approx(2 * BOX * 0.4)
    assert total({"And": [untagged, {"Not": spot}]}) == pytest.approx(24 * BOX + 48 * 0.004)
    assert total({"CostCategories": {"Key": "none", "Values": ["x"]}}) == 0


def test_resources_and_hours_of_the_last_days(costs):
    asked = {"TimePeriod": period(4), "Granularity": "DAILY", "Metrics": ["UnblendedCost"]}
    compute = {"Dimensions": {"Key": "SERVICE", "Values": [COMPUTE]}}
    found = costs.get_cost_and_usage_with_resources(**asked, Filter=compute, GroupBy=by("RESOURCE_ID"))
    assert [sorted(part) for part in amounts(found)] == [[("i-1",)], [("i-1",)], [("i-2",)]]
    hours = {"Start": f"{day(4):%Y-%m-%d}T22:00:00Z", "End": f"{day(3):%Y-%m-%d}T08:00:00Z"}
    found = costs.get_cost_and_usage(**asked | {"TimePeriod": hours, "Granularity": "HOURLY"}, Filter=compute)
    costs_of_hours = [float(part["Total"]["UnblendedCost"]["Amount"]) for part in found["ResultsByTime"]]
    assert costs_of_hours == pytest.approx([BOX] * 8 + [0] * 2)
    refused("ValidationException", costs.get_cost_and_usage, **asked, GroupBy=by("RESOURCE_ID"))
    refused("ValidationException", costs.get_cost_and_usage_with_resources, **asked, Filter=compute)
    old = asked | {"TimePeriod": period(15)}
    refused(
        "ValidationException", costs.get_cost_and_usage_with_resources, **old, Filter=compute, GroupBy=by("RESOURCE_ID")
    )


def test_pages_follow_each_other(api, costs, monkeypatch):
    asked = {"TimePeriod": period(), "Granularity": "DAILY", "Metrics": ["UnblendedCost"], "GroupBy": by("USAGE_TYPE")}
    whole = costs.get_cost_and_usage(**asked)
    monkeypatch.setattr("stead_controller.aws.ce.cost_and_usage._MOST_ROWS", 2)
    found = costs.get_cost_and_usage(**asked)
    token = found["NextPageToken"]
    parts = list(found["ResultsByTime"])
    while "NextPageToken" in found:
        found = costs.get_cost_and_usage(**asked, NextPageToken=found["NextPageToken"])
        parts += found["ResultsByTime"]
    assert [group for part in parts for group in part["Groups"]] == [
        group for part in whole["ResultsByTime"] for group in part["Groups"]
    ]
    refused("RequestChangedException", costs.get_cost_and_usage, **asked | {"GroupBy": by("AZ")}, NextPageToken=token)
    refused("InvalidNextTokenException", costs.get_cost_and_usage, **asked, NextPageToken="nonsense")
    theirs = api.client(api.world.other, "ce")
    refused("InvalidNextTokenException", theirs.get_cost_and_usage, **asked, NextPageToken=token)


def test_values_of_dimensions_and_tags(costs):
    asked = {"TimePeriod": period()}
    found = costs.get_dimension_values(**asked, Dimension="USAGE_TYPE")
    assert [each["Value"] for each in found["DimensionValues"]] == [
        "BoxUsage:t3.micro", "NatGateway-Hours", "SpotUsage:t3.micro",
    ]  # fmt: skip
    assert (found["ReturnSize"], found["TotalSize"]) == (3, 3)
    found = costs.get_dimension_values(**asked, Dimension="USAGE_TYPE", SearchString="boxusage")
    assert [each["Value"] for each in found["DimensionValues"]] == ["BoxUsage:t3.micro"]
    dearest = {"SortBy": [{"Key": "UnblendedCost", "SortOrder": "DESCENDING"}], "MaxResults": 2}
    found = costs.get_dimension_values(**asked, Dimension="USAGE_TYPE", **dearest)
    assert [each["Value"] for each in found["DimensionValues"]] == ["NatGateway-Hours", "BoxUsage:t3.micro"]
    assert (found["ReturnSize"], found["TotalSize"]) == (2, 3)
    assert costs.get_tags(**asked)["Tags"] == ["team"]
    assert costs.get_tags(**asked, TagKey="team")["Tags"] == ["", "a"]
    assert costs.get_tags(TimePeriod=period(5, 4))["Tags"] == []
    one_use = {"Dimensions": {"Key": "USAGE_TYPE", "Values": ["NatGateway-Hours"]}}
    assert costs.get_tags(**asked, TagKey="team", Filter=one_use)["Tags"] == [""]
    refused("UnsupportedOperation", costs.get_tags, **asked, Filter=one_use)
    refused("UnsupportedOperation", costs.get_tags, **asked, SortBy=[{"Key": "UnblendedCost"}])
    refused("UnsupportedOperation", costs.get_dimension_values, **asked, Dimension="AZ", Context="RESERVATIONS")
    twice = {"SortBy": dearest["SortBy"], "SearchString": "a"}
    refused("ValidationException", costs.get_tags, **asked, TagKey="team", **twice)
    assert costs.get_cost_categories(**asked)["CostCategoryNames"] == []
    assert costs.list_cost_category_definitions()["CostCategoryReferences"] == []


def test_forecasts_go_on_as_the_last_days(api, costs):
    to_come = {"Start": f"{day(0):%Y-%m-%d}", "End": f"{day(-3):%Y-%m-%d}"}
    asked = {"TimePeriod": to_come, "Granularity": "DAILY"}
    found = costs.get_cost_forecast(**asked, Metric="UNBLENDED_COST", PredictionIntervalLevel=90)
    days = [24 * BOX + 24 * 0.004, 6 * BOX + 24 * 0.004, 2 * BOX * 0.4, 0]
    assert float(found["Total"]["Amount"]) == pytest.approx(3 * sum(days) / 4)
    assert found["Total"]["Unit"] == "USD"
    assert [each["TimePeriod"]["Start"] for each in found["ForecastResultsByTime"]] == [
        f"{day(-ago):%Y-%m-%d}" for ago in range(3)
    ]
    first = found["ForecastResultsByTime"][0]
    assert 0 <= float(first["PredictionIntervalLowerBound"]) < float(first["MeanValue"])
    assert float(first["MeanValue"]) < float(first["PredictionIntervalUpperBound"])
    used = costs.get_usage_forecast(**asked, Metric="USAGE_QUANTITY")
    assert (float(used["Total"]["Amount"]), used["Total"]["Unit"]) == (pytest.approx(3 * 80 / 4), "Hrs")
    nothing = {"Dimensions": {"Key": "AZ", "Values": ["nowhere"]}}
    refused("DataUnavailableException", costs.get_cost_forecast, **asked, Metric="UNBLENDED_COST", Filter=nothing)
    api.run(
        lambda tx: used_disk(tx, api.world.one.caller.account_id),
    )
    refused("UnresolvableUsageUnitException", costs.get_usage_forecast, **asked, Metric="USAGE_QUANTITY")
    refused("ValidationException", costs.get_cost_forecast, **asked, Metric="USAGE_QUANTITY")
    refused(
        "ValidationException", costs.get_cost_forecast, **asked | {"Granularity": "HOURLY"}, Metric="UNBLENDED_COST"
    )
    for start, end, granularity in ((1, -2, "DAILY"), (0, -94, "DAILY"), (0, -600, "MONTHLY")):
        times = {"Start": f"{day(start):%Y-%m-%d}", "End": f"{day(end):%Y-%m-%d}"}
        bad = {"TimePeriod": times, "Granularity": granularity}
        refused("ValidationException", costs.get_cost_forecast, **bad, Metric="UNBLENDED_COST")


def used_disk(tx, account_id):
    used(tx, account_id, "vol-1", "EBS:VolumeUsage.gp3", "CreateVolume-Gp3", 2, 2, 10)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Granularity": "YEARLY"}, "ValidationException"),
        ({"Metrics": ["Cost"]}, "ValidationException"),
        ({"Metrics": ["ListCost"]}, "UnsupportedOperation"),
        ({"GroupBy": by("COLOUR")}, "ValidationException"),
        ({"GroupBy": by("PLATFORM")}, "UnsupportedOperation"),
        ({"TimePeriod": {"Start": "2026-01-02", "End": "2026-01-01"}}, "ValidationException"),
        ({"TimePeriod": {"Start": "-1", "End": "99999999-01-01"}}, "ValidationException"),
        ({"Filter": {}}, "ValidationException"),
        ({"Filter": {"Dimensions": {"Key": "COLOUR", "Values": ["x"]}}}, "ValidationException"),
        ({"BillingViewArn": "arn:aws:billing::111111111111:billingview/primary"}, "UnsupportedOperation"),
    ],
)
def test_bad_requests_are_refused(costs, changed, code):
    asked = {"TimePeriod": period(), "Granularity": "DAILY", "Metrics": ["UnblendedCost"]}
    refused(code, costs.get_cost_and_usage, **asked | changed)


def test_users_need_rights_and_others_see_nothing(api, costs):
    iam = api.client(api.world.one, "iam")
    asked = {
        "TimePeriod": period(),
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
        "GroupBy": by("LINKED_ACCOUNT"),
    }
    user = who_may(api, iam, "reader", "ce:GetCostAndUsage")("ce")
    assert {key for part in amounts(user.get_cost_and_usage(**asked)) for key in part} == {("111111111111",)}
    refused("AccessDeniedException", user.get_tags, TimePeriod=period())
    theirs = api.client(api.world.other, "ce")
    assert {key for part in amounts(theirs.get_cost_and_usage(**asked)) for key in part} == {("222222222222",)}
    assert theirs.get_tags(TimePeriod=period())["Tags"] == []


def test_the_aws_command_shows_what_is_counted_and_kept(api):
    caller, now = api.world.one.caller, datetime.now(UTC)  # the command has the real time
    gib = 1 << 30

    def count(tx):
        for resource, usage, operation, number in (
            ("bucket", "TimedStorage-ByteHrs", "StandardStorage", 200 * gib * 24),
            ("bucket", "DataTransfer-Out-Bytes", "GetObject", 3 * gib),
            ("i-1", "DataTransfer-Out-Bytes", "RunInstances", 5 * gib),
            ("metrics", "CW:Requests", "PutMetricData", 4321),
        ):
            used(tx, caller.account_id, resource, usage, operation, 2, 0, number, counted=True, now=now)

    api.run(count)
    aws = Account(caller.account_id, caller.access_key_id, SECRET, f"http://127.0.0.1:{api.port}").aws
    found = aws(
        "ce", "get-cost-and-usage", "--time-period", f"Start={day(2, now):%Y-%m-%d},End={day(1, now):%Y-%m-%d}",
        "--granularity", "DAILY", "--metrics", "UnblendedCost", "UsageQuantity",
        "--group-by", "Type=DIMENSION,Key=SERVICE", "Type=DIMENSION,Key=USAGE_TYPE",
    )  # fmt: skip
    [part] = found["ResultsByTime"]
    days = calendar.monthrange(day(2, now).year, day(2, now).month)[1]
    s3, cloudwatch, out = "Amazon Simple Storage Service", "AmazonCloudWatch", "DataTransfer-Out-Bytes"
    assert {
        tuple(group["Keys"]): [
            (float(amount["Amount"]), amount["Unit"])
            for amount in (group["Metrics"]["UsageQuantity"], group["Metrics"]["UnblendedCost"])
        ]
        for group in part["Groups"]
    } == {
        ("EC2 - Other", out): [(5, "GB"), (pytest.approx(5 * 0.0006), "USD")],
        (s3, out): [(3, "GB"), (pytest.approx(3 * 0.0006), "USD")],
        (s3, "TimedStorage-ByteHrs"): [
            (pytest.approx(200 / days), "GB-Mo"),
            (pytest.approx(200 / days * 0.006), "USD"),
        ],
        (cloudwatch, "CW:Requests"): [(4321, "Requests"), (pytest.approx(4321e-7), "USD")],
    }


def test_the_aws_command_asks_for_costs(account: Account) -> None:
    now = datetime.now(UTC)
    asked = ["--time-period", f"Start={day(5, now):%Y-%m-%d},End={day(0, now):%Y-%m-%d}", "--metrics", "UnblendedCost"]
    found = account.aws(
        "ce", "get-cost-and-usage", *asked, "--granularity", "DAILY", "--group-by", "Type=DIMENSION,Key=SERVICE"
    )
    assert len(found["ResultsByTime"]) == 5
    assert account.aws("ce", "get-tags", *asked[:2])["Tags"] == []
