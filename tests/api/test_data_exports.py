"""AWS Data Exports by boto3 and by the aws command, and what is written to buckets."""

import asyncio
import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from stead_controller.db.tables import Bucket, DataExport, PriceBook, UsageLine
from stead_controller.resources.data_exports import executions
from stead_controller.settings import Settings
from stead_controller.workflows.data_exports import DataExports
from stead_controller.workflows.image_tasks import ObjectError, Places
from tests.api.export_requests import add_bucket, definition, policy
from tests.api.identity import document, refused, who_may

MINE, OTHERS = "111111111111", "222222222222"
NOON = datetime(2087, 6, 4, 12, tzinfo=UTC)  # early: each day, or hour, until then is asked for
MONTH = int(datetime(2087, 6, 1, tzinfo=UTC).timestamp())
PRICES = """
currency = "USD"
[[price]]
usage = "NatGateway-Hours"
tiers = [{ begin = "0", end = "30", price = "0" }, { begin = "30", end = "Inf", price = "0.5" }]
"""


class Objects:
    """Buckets in memory; `refusing` and `failing` are keys' parts at which it does so."""

    def __init__(self):
        self.stored, self.refusing, self.failing = {}, "never", "never"

    async def fetch(self, account_id, bucket, key, path, most_bytes):
        raise NotImplementedError

    async def store(self, account_id, bucket, key, path):
        if self.refusing in key:
            raise ObjectError("no such bucket")
        if self.failing in key:
            raise ConnectionError
        self.stored[account_id, bucket, key] = path.read_bytes()

    def rows(self, key, bucket="bills", owner=MINE):
        text = gzip.decompress(self.stored[owner, bucket, key]).decode()
        return list(csv.DictReader(io.StringIO(text)))


class Exporting:
    """The loop, with its own time."""

    def __init__(self, api, folder):
        self.api, self.now, self.objects = api, NOON, Objects()
        self.places = Places(Settings(folder), self.objects, None)

    def run(self, now=None):
        self.now = now or self.now
        asyncio.run(DataExports(self.api.database, self.api.world.cloud, lambda: self.now, self.places).run())

    def due(self):
        found = {}
        self.api.run(lambda tx: found.update({row.name: row.due for row in tx.session.query(DataExport)}))
        return found


@pytest.fixture
def client(api, at):
    at(NOON)  # no export is of the month before
    add_bucket(api, "bills", policy("bills", StringEquals={"aws:SourceAccount": MINE}))
    return api.client(api.world.one, "bcm-data-exports")


@pytest.fixture
def exporting(api, tmp_path):
    api.run(lambda tx: tx.session.add(PriceBook(valid_from=1, text=PRICES)))
    for account, resource in ((MINE, "nat-1"), (OTHERS, "nat-2")):
        about = {"account_id": account, "usage": "NatGateway-Hours", "operation": "NatGateway", "zone": "us-east-1a"}
        line = {"resource_id": resource, "quantity": 1, "began": MONTH + 3600, "ended": MONTH + 3600 * 73}
        api.run(lambda tx, line=about | line: tx.session.add(UsageLine(**line)))
    return Exporting(api, tmp_path)


def with_query(text, name="costs", **properties):
    made = definition(name)
    made["DataQuery"] = {"QueryStatement": text, **({"TableConfigurations": properties} if properties else {})}
    return made


def test_an_export_is_made_shown_changed_and_deleted(client):
    arn = client.create_export(Export=definition(), ResourceTags=[{"Key": "a", "Value": "b"}])["ExportArn"]
    assert arn.startswith(f"arn:aws:bcm-data-exports:us-east-1:{MINE}:export/costs-")
    found = client.get_export(ExportArn=arn)
    assert found["Export"] == {"ExportArn": arn, **definition()}
    assert found["ExportStatus"]["StatusCode"] == "HEALTHY"
    assert "LastRefreshedAt" not in found["ExportStatus"]
    changed = definition() | {"Description": "d", "ExportArn": arn}
    assert client.update_export(ExportArn=arn, Export=changed)["ExportArn"] == arn
    assert client.get_export(ExportArn=arn)["Export"] == changed
    assert [each["ExportArn"] for each in client.list_exports()["Exports"]] == [arn]
    assert client.delete_export(ExportArn=arn)["ExportArn"] == arn
    refused("ResourceNotFoundException", client.get_export, ExportArn=arn)
    assert client.list_exports()["Exports"] == []


def test_pages_of_exports_and_tags(client):
    arns = [client.create_export(Export=definition(name))["ExportArn"] for name in ("b", "c", "a")]
    first = client.list_exports(MaxResults=2)
    rest = client.list_exports(MaxResults=2, NextToken=first["NextToken"])
    assert [each["ExportName"] for each in first["Exports"] + rest["Exports"]] == ["a", "b", "c"]
    assert "NextToken" not in rest
    refused("ValidationException", client.list_exports, NextToken="nonsense")
    client.tag_resource(ResourceArn=arns[0], ResourceTags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    client.untag_resource(ResourceArn=arns[0], ResourceTagKeys=["a"])
    assert client.list_tags_for_resource(ResourceArn=arns[0])["ResourceTags"] == [{"Key": "b", "Value": "2"}]
    refused(
        "ValidationException", client.tag_resource, ResourceArn=arns[0], ResourceTags=[{"Key": "aws:x", "Value": ""}]
    )
    many = [{"Key": f"{number}", "Value": ""} for number in range(51)]
    refused("ServiceQuotaExceededException", client.tag_resource, ResourceArn=arns[0], ResourceTags=many)


@pytest.mark.parametrize(
    ("export", "words"),
    [
        (definition() | {"Name": "a b"}, "1 to 128 letters"),
        (definition() | {"ExportArn": f"arn:aws:bcm-data-exports:us-east-1:{MINE}:export/x-1"}, "not that of the request"),
        (definition(S3Bucket="none"), "does not exist"),
        (definition(S3Region="eu-west-1"), "must be in us-east-1"),
        (definition(S3Prefix="a//b"), "S3Prefix"),
        (definition(S3Prefix="a/../b"), "S3Prefix"),
        (definition(S3Prefix=".."), "S3Prefix"),
        (definition(S3Prefix="ä"), "S3Prefix"),
        (definition(S3BucketOwner=OTHERS), f"not of account {OTHERS}"),
        (with_query("SELECT * FROM FOCUS_1_2_AWS"), "'\\*' is no column"),
        (with_query("DELETE FROM FOCUS_1_2_AWS"), "SELECT columns FROM table"),
        (with_query("SELECT Tags FROM Nothing"), "There is no table NOTHING here"),
        (with_query("SELECT Tag FROM FOCUS_1_2_AWS"), "no column Tag"),
        (with_query("SELECT x_UsageType FROM FOCUS_1_2_AWS"), "no column x_UsageType"),
        (with_query("SELECT Tags, ListCost AS Tags FROM FOCUS_1_2_AWS"), "two columns of one name"),
        (with_query("SELECT Tags FROM FOCUS_1_2_AWS", COST_AND_USAGE_REPORT={}), "There are properties of COST_AND_USAGE"),
        (with_query("SELECT Tags FROM FOCUS_1_0_AWS", FOCUS_1_0_AWS={"TIME_GRANULARITY": "DAILY"}), "has no property TIME"),
    ],
)  # fmt: skip
def test_what_is_not_right_is_refused(client, export, words):
    message = refused("ValidationException", client.create_export, Export=export)
    assert words.replace("\\", "") in message
    assert client.list_exports()["Exports"] == []


@pytest.mark.parametrize(
    ("export", "words"),
    [
        (with_query("SELECT Tags FROM FOCUS_1_2_AWS WHERE ListCost > 0"), "WHERE ListCost > 0"),
        (with_query("SELECT Tags FROM FOCUS_1_2_AWS", FOCUS_1_2_AWS={"TIME_GRANULARITY": "YEARLY"}), "YEARLY"),
        (
            with_query("SELECT resource_tags FROM COST_AND_USAGE_REPORT",
                       COST_AND_USAGE_REPORT={"INCLUDE_SPLIT_COST_ALLOCATION_DATA": "TRUE"}),
            "INCLUDE_SPLIT_COST_ALLOCATION_DATA=TRUE",
        ),
        (
            with_query("SELECT Tags FROM FOCUS_1_2_AWS", FOCUS_1_2_AWS={"BILLING_VIEW_ARN": "arn:aws:billing::1:x"}),
            "BILLING_VIEW_ARN",
        ),
    ],
)  # fmt: skip
def test_what_only_aws_can_do_is_refused_by_name(client, export, words):
    assert words in refused("UnsupportedOperation", client.create_export, Export=export)


@pytest.mark.parametrize(("member", "value"), [("Format", "PARQUET"), ("Compression", "ZIP"), ("OutputType", "ATHENA")])
def test_other_forms_are_refused_by_name(client, member, value):
    made = definition()
    place = made["DestinationConfigurations"]["S3Destination"]
    place["S3OutputConfigurations"] = place["S3OutputConfigurations"] | {member: value}
    assert f"Of {member} only" in refused("UnsupportedOperation", client.create_export, Export=made)


def test_a_name_is_given_once_and_stays(client):
    arn = client.create_export(Export=definition())["ExportArn"]
    assert "already" in refused("ValidationException", client.create_export, Export=definition())
    message = refused("ValidationException", client.update_export, ExportArn=arn, Export=definition("other"))
    assert "cannot be changed" in message


@pytest.mark.parametrize(
    "text",
    [
        None,
        policy("bills", StringEquals={"aws:SourceAccount": OTHERS}),
        policy("bills", ArnLike={"aws:SourceArn": f"arn:aws:bcm-data-exports:us-east-1:{OTHERS}:export/*"}),
        policy("bills").replace("s3:PutObject", "s3:GetObject"),
        policy("bills").replace("s3:GetBucketPolicy", "s3:GetObject"),
        policy("bills").replace("bills/*", "bills/other/*"),
        policy("bills").replace("bcm-data-exports.amazonaws.com", "ec2.amazonaws.com"),
        policy("bills").replace("Allow", "Deny"),
    ],
)
def test_the_buckets_policy_must_allow_the_service(api, client, text):
    def set_policy(tx):
        tx.session.get_one(Bucket, "bills").policy = text

    api.run(set_policy)
    assert "does not allow" in refused("ValidationException", client.create_export, Export=definition())
    api.run(
        lambda tx: setattr(
            tx.session.get_one(Bucket, "bills"), "policy",
            policy("bills", ArnLike={"aws:SourceArn": f"arn:aws:bcm-data-exports:us-east-1:{MINE}:export/*"}),
        )
    )  # fmt: skip
    client.create_export(Export=definition())


def test_rows_are_of_the_own_account_and_add_up_to_the_bill(client, exporting):
    names = (
        "BilledCost, PricingQuantity, ListUnitPrice, ChargePeriodStart, ResourceId, SubAccountId AS whose, SkuPriceId"
    )
    arn = client.create_export(Export=with_query(
        f"SELECT {names} FROM FOCUS_1_2_AWS", FOCUS_1_2_AWS={"TIME_GRANULARITY": "DAILY"}))["ExportArn"]  # fmt: skip
    exporting.run()
    data = "all/costs/data/BILLING_PERIOD=2087-06/costs-00001.csv.gz"
    rows = exporting.objects.rows(data)
    assert {row["whose"] for row in rows} == {MINE}
    assert {row["ResourceId"] for row in rows} == {"nat-1"}
    assert sum(Fraction(row["BilledCost"]) for row in rows) == 21
    assert [(row["ChargePeriodStart"], row["PricingQuantity"], row["ListUnitPrice"]) for row in rows] == [
        ("2087-06-01T00:00:00.000Z", "23", "0"),
        ("2087-06-02T00:00:00.000Z", "7", "0"),
        ("2087-06-02T00:00:00.000Z", "17", "0.5"),
        ("2087-06-03T00:00:00.000Z", "24", "0.5"),
        ("2087-06-04T00:00:00.000Z", "1", "0.5"),
    ]
    assert len({row["SkuPriceId"] for row in rows}) == 2
    manifest = json.loads(
        exporting.objects.stored[MINE, "bills", "all/costs/metadata/BILLING_PERIOD=2087-06/costs-Manifest.json"]
    )
    assert manifest["dataFiles"] == [f"s3://bills/{data}"]
    assert manifest["columns"][5] == {"name": "whose", "type": "string"}
    assert manifest["billingPeriod"] == {"start": "2087-06-01T00:00:00.000Z", "end": "2087-07-01T00:00:00.000Z"}
    assert next(iter(exporting.objects.stored))[2] == data  # the manifest comes last
    shown = client.get_export(ExportArn=arn)["ExportStatus"]
    assert (shown["StatusCode"], shown["LastRefreshedAt"]) == ("HEALTHY", NOON)
    [execution] = client.list_executions(ExportArn=arn)["Executions"]
    assert execution["ExecutionStatus"]["StatusCode"] == "DELIVERY_SUCCESS"
    assert execution["ExecutionId"] == manifest["executionId"]
    one = client.get_execution(ExportArn=arn, ExecutionId=execution["ExecutionId"])
    assert (one["ExecutionStatus"]["CompletedAt"], one["Export"]["ExportArn"]) == (NOON, arn)
    assert list(exporting.places.settings.incoming_folder.glob("exports/*")) == []


_HOURLY = pytest.param("HOURLY", 72, marks=pytest.mark.story)


@pytest.mark.parametrize(("granularity", "count"), [_HOURLY, ("MONTHLY", 1)])
def test_reports_as_cur_2_have_rows_of_the_asked_time(client, exporting, granularity, count):
    names = "line_item_unblended_cost, line_item_usage_amount, line_item_resource_id, identity_line_item_id"
    properties = {"TIME_GRANULARITY": granularity, "INCLUDE_RESOURCES": "FALSE"}
    client.create_export(
        Export=with_query(f"SELECT {names} FROM COST_AND_USAGE_REPORT", COST_AND_USAGE_REPORT=properties)
    )
    exporting.run()
    rows = exporting.objects.rows("all/costs/data/BILLING_PERIOD=2087-06/costs-00001.csv.gz")
    assert round(sum(Fraction(row["line_item_unblended_cost"]) for row in rows), 20) == 21  # each has 28 digits
    assert round(sum(Fraction(row["line_item_usage_amount"]) for row in rows), 20) == 72
    assert {row["line_item_resource_id"] for row in rows} == {""}
    assert len({row["identity_line_item_id"] for row in rows}) == len(rows)
    assert len(rows) >= count


def test_new_reports_are_beside_the_old_ones_and_others_in_their_place(client, exporting):
    made = definition("new")
    place = made["DestinationConfigurations"]["S3Destination"]
    place["S3OutputConfigurations"] = place["S3OutputConfigurations"] | {"Overwrite": "CREATE_NEW_REPORT"}
    client.create_export(Export=made)
    client.create_export(Export=definition("same"))
    exporting.run()
    first = set(exporting.objects.stored)
    assert exporting.due() == dict.fromkeys(("new", "same"), NOON.replace(hour=0) + timedelta(days=1, minutes=10))
    exporting.run(NOON + timedelta(days=1))
    added = {key for _, _, key in set(exporting.objects.stored) - first}
    assert len(added) == 2
    assert all("/BILLING_PERIOD=2087-06/2087-06-05T12:00:00Z-" in key for key in added)
    exporting.run()
    assert len(exporting.objects.stored) == len(first) + 2  # nothing is due


def test_the_month_before_is_written_for_two_weeks_more(client, exporting):
    client.create_export(Export=definition())
    exporting.run()
    exporting.objects.stored.clear()
    exporting.run(datetime(2087, 7, 14, 23, tzinfo=UTC))
    assert {key.split("/")[3] for _, _, key in exporting.objects.stored} == {
        "BILLING_PERIOD=2087-06",
        "BILLING_PERIOD=2087-07",
    }
    exporting.objects.stored.clear()
    exporting.run(datetime(2087, 7, 16, tzinfo=UTC))
    assert {key.split("/")[3] for _, _, key in exporting.objects.stored} == {"BILLING_PERIOD=2087-07"}


def test_an_execution_that_was_killed_goes_on_and_writes_the_same_keys(api, client, exporting):
    arn = client.create_export(Export=definition())["ExportArn"]
    for after in range(4):  # killed right after its n-th note of how far it is
        work = api.run(executions.begin, api.world.cloud, exporting.now)
        for _ in range(after):
            assert api.run(executions.go_on, work, executions.DELIVERING, exporting.now)
        exporting.run()
        assert not exporting.objects.stored  # the lease of the dead one
        exporting.now += executions.LEASE
    exporting.run()
    assert len(exporting.objects.stored) == 2
    [execution] = client.list_executions(ExportArn=arn)["Executions"]
    assert execution["ExecutionId"] == work.execution_id
    assert execution["ExecutionStatus"]["StatusCode"] == "DELIVERY_SUCCESS"


def test_who_has_lost_its_execution_changes_nothing_more(api, client, exporting):
    arn = client.create_export(Export=definition())["ExportArn"]
    work = api.run(executions.begin, api.world.cloud, NOON)
    client.update_export(ExportArn=arn, Export=definition())
    assert not api.run(executions.go_on, work, executions.QUERYING, NOON)
    api.run(executions.end, work, None, NOON)
    assert "LastRefreshedAt" not in client.get_export(ExportArn=arn)["ExportStatus"]
    exporting.run(NOON + timedelta(minutes=1))
    found = [each["ExecutionStatus"] for each in client.list_executions(ExportArn=arn)["Executions"]]
    assert [(one["StatusCode"], one.get("StatusReason")) for one in found] == [
        ("DELIVERY_SUCCESS", None),
        ("DELIVERY_FAILURE", "INTERNAL_FAILURE"),
    ]
    first = client.list_executions(ExportArn=arn, MaxResults=1)
    rest = client.list_executions(ExportArn=arn, MaxResults=1, NextToken=first["NextToken"])
    assert rest["Executions"][0]["ExecutionStatus"]["StatusCode"] == "DELIVERY_FAILURE"
    again = api.run(executions.begin, api.world.cloud, NOON + timedelta(days=1))
    client.delete_export(ExportArn=arn)
    assert not api.run(executions.go_on, again, executions.QUERYING, NOON)
    api.run(executions.end, again, None, NOON)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("policy", "INSUFFICIENT_PERMISSION"), ("refusing", "INSUFFICIENT_PERMISSION"), ("failing", "INTERNAL_FAILURE")],
)
def test_an_export_that_fails_says_so_and_is_tried_again(api, client, exporting, trouble, reason):
    arn = client.create_export(Export=definition())["ExportArn"]
    client.create_export(Export=definition("others"))

    def set_policy(text):
        api.run(lambda tx: setattr(tx.session.get_one(Bucket, "bills"), "policy", text))

    if trouble == "policy":
        set_policy(policy("bills").replace("bills/*", "bills/all/others/*"))
    else:
        setattr(exporting.objects, trouble, "costs-Manifest")
    exporting.run()
    shown = client.get_export(ExportArn=arn)["ExportStatus"]
    assert (shown["StatusCode"], shown["StatusReason"]) == ("UNHEALTHY", reason)
    [execution] = client.list_executions(ExportArn=arn)["Executions"]
    assert execution["ExecutionStatus"]["StatusReason"] == reason
    assert any("/others/" in key for _, _, key in exporting.objects.stored)
    set_policy(policy("bills"))
    exporting.objects.refusing = exporting.objects.failing = "never"
    exporting.run(NOON + executions.AGAIN)
    shown = client.get_export(ExportArn=arn)["ExportStatus"]
    assert (shown["StatusCode"], "StatusReason" in shown) == ("HEALTHY", False)


def test_an_export_of_a_table_that_is_gone_does_not_keep_others_waiting(api, client, exporting):
    arn = client.create_export(Export=definition("a"))["ExportArn"]

    def change(tx):
        row = tx.session.get_one(DataExport, arn[-36:])
        row.definition = row.definition.replace("FOCUS_1_2_AWS", "FOCUS_9_9_AWS")
        row.due = NOON - timedelta(days=1)

    api.run(change)
    client.create_export(Export=definition("b"))
    exporting.run()
    exporting.run()
    shown = client.get_export(ExportArn=arn)["ExportStatus"]
    assert (shown["StatusCode"], shown["StatusReason"]) == ("UNHEALTHY", "INTERNAL_FAILURE")
    assert exporting.due()["a"] == NOON + executions.AGAIN
    assert any("/b/" in key for _, _, key in exporting.objects.stored)


def test_a_bucket_of_another_account_may_take_it(api, client, exporting):
    add_bucket(api, "theirs", policy("theirs", StringEquals={"aws:SourceAccount": MINE}), OTHERS)
    assert "not of account" in refused(
        "ValidationException", client.create_export, Export=definition(S3Bucket="theirs")
    )
    client.create_export(Export=definition(S3Bucket="theirs", S3BucketOwner=OTHERS, S3Prefix=""))
    exporting.run()
    assert {key[:2] for key in exporting.objects.stored} == {(OTHERS, "theirs")}
    assert {key[2].partition("/")[0] for key in exporting.objects.stored} == {"costs"}


def test_tables_are_those_of_aws(client):
    found = {table["TableName"]: table for table in client.list_tables()["Tables"]}
    assert set(found) == {"COST_AND_USAGE_REPORT", "FOCUS_1_0_AWS", "FOCUS_1_2_AWS"}
    [granularity] = found["FOCUS_1_2_AWS"]["TableProperties"]
    assert (granularity["Name"], granularity["DefaultValue"]) == ("TIME_GRANULARITY", "HOURLY")
    table = client.get_table(TableName="FOCUS_1_0_AWS")
    assert len(table["Schema"]) == 48
    assert {column["Type"] for column in table["Schema"]} == {"string", "double", "timestamp_milliseconds", "map"}
    assert client.get_table(TableName="FOCUS_1_2_AWS")["TableProperties"] == {"TIME_GRANULARITY": "HOURLY"}
    refused("ValidationException", client.get_table, TableName="none")
    first = client.list_tables(MaxResults=1)
    assert len(client.list_tables(NextToken=first["NextToken"])["Tables"]) == 2


def test_another_accounts_exports_are_nobodys(api, client):
    arn = client.create_export(Export=definition())["ExportArn"]
    theirs = api.client(api.world.other, "bcm-data-exports")
    for call in (theirs.get_export, theirs.delete_export, theirs.list_executions):
        refused("ResourceNotFoundException", call, ExportArn=arn)
    refused("ResourceNotFoundException", theirs.update_export, ExportArn=arn, Export=definition())
    refused("ResourceNotFoundException", theirs.list_tags_for_resource, ResourceArn=arn)
    assert theirs.list_exports()["Exports"] == []
    refused("ValidationException", theirs.create_export, Export=definition())


def arn_in(kind, name):
    return f"arn:aws:bcm-data-exports:us-east-1:{MINE}:{kind}/{name}"


def test_users_need_rights_on_exports_and_on_tables(api, client):
    iam = api.client(api.world.one, "iam")
    user = who_may(api, iam, "reader", "bcm-data-exports:ListExports")("bcm-data-exports")
    assert user.list_exports()["Exports"] == []
    refused("AccessDeniedException", user.list_tables)
    refused("AccessDeniedException", user.get_table, TableName="FOCUS_1_2_AWS")

    def allow(action, *resources):
        text = document(f"bcm-data-exports:{action}", resource=list(resources))
        iam.put_user_policy(UserName="reader", PolicyName="more", PolicyDocument=text)

    allow("CreateExport", arn_in("export", "costs-*"))
    refused("AccessDeniedException", user.create_export, Export=definition())
    allow("CreateExport", arn_in("table", "FOCUS_1_2_AWS"))
    refused("AccessDeniedException", user.create_export, Export=definition())
    allow("CreateExport", arn_in("export", "costs-*"), arn_in("table", "FOCUS_1_2_AWS"))
    refused("AccessDeniedException", user.create_export, Export=definition("other"))
    arn = user.create_export(Export=definition())["ExportArn"]
    refused("AccessDeniedException", user.get_export, ExportArn=arn)
    allow("UpdateExport", arn)
    refused("AccessDeniedException", user.update_export, ExportArn=arn, Export=definition())
    allow("*", arn, arn_in("table", "FOCUS_1_2_AWS"))
    assert user.update_export(ExportArn=arn, Export=definition())["ExportArn"] == arn
    user.tag_resource(ResourceArn=arn, ResourceTags=[{"Key": "team", "Value": "web"}])
    assert user.get_table(TableName="FOCUS_1_2_AWS")["TableName"] == "FOCUS_1_2_AWS"
    refused("AccessDeniedException", user.get_table, TableName="FOCUS_1_0_AWS")


def test_rights_may_depend_on_tags(api, client):
    web, other = (
        client.create_export(Export=definition(name), ResourceTags=[{"Key": "team", "Value": name}])["ExportArn"]
        for name in ("web", "other")
    )
    iam = api.client(api.world.one, "iam")
    user = who_may(api, iam, "reader", "bcm-data-exports:ListExports")("bcm-data-exports")
    may = json.loads(document("bcm-data-exports:GetExport"))
    may["Statement"][0]["Condition"] = {"StringEquals": {"aws:ResourceTag/team": "web"}}
    iam.put_user_policy(UserName="reader", PolicyName="more", PolicyDocument=json.dumps(may))
    assert user.get_export(ExportArn=web)["Export"]["Name"] == "web"
    refused("AccessDeniedException", user.get_export, ExportArn=other)


def test_the_aws_command_asks_for_tables_and_is_refused_without_a_bucket(account):
    assert len(account.aws("bcm-data-exports", "list-tables")["Tables"]) == 3
    assert account.aws("bcm-data-exports", "list-exports")["Exports"] == []
    done = account.aws_result("bcm-data-exports", "create-export", "--export", json.dumps(definition()))
    assert (
        "(ValidationException) when calling the CreateExport operation: The bucket bills does not exist." in done.stderr
    )


def test_the_longest_query_and_bad_ones_are_answered_at_once(client):
    refused("ValidationException", client.create_export, Export=with_query("SELECT " + "a," * 17000 + "b FROM x"))
    refused("ValidationException", client.create_export, Export=with_query("SELECT" + " " * 35000))
    refused("UnsupportedOperation", client.create_export, Export=with_query("SELECT" + " a FROM" * 5000))
