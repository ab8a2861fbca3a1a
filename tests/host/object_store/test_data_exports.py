"""Exports of costs in buckets, by the aws command and a real SeaweedFS."""

import asyncio
import csv
import gzip
import io
import json
import secrets
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import UsageLine
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.image_files import ImageFiles
from stead_controller.settings import Settings
from stead_controller.workflows.data_exports import DataExports
from stead_controller.workflows.image_tasks import Places
from tests.api.export_requests import definition, policy


@pytest.fixture
def carry_out(store, tmp_path):
    """Carry out what is due."""

    async def live():
        # A client of its own, which finds the server that the endpoint has started.
        with closing(store.server()) as server:
            backend = Backend(server)
            places = Places(Settings(tmp_path), ImageFiles(store.database, backend, "us-east-1"), None)
            await DataExports(store.database, store.world.cloud, lambda: datetime.now(UTC), places).run()
            await backend.close()

    return lambda: asyncio.run(live())


def test_an_export_is_in_the_bucket_once_its_policy_allows_it(store, carry_out):
    bucket = f"bills-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=bucket)
    owner = store.one.aws("sts", "get-caller-identity")["Account"]
    began = int(datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0).timestamp())
    about = {"account_id": owner, "usage": "NatGateway-Hours", "operation": "NatGateway", "zone": "us-east-1a"}
    line = UsageLine(**about, resource_id="nat-1", quantity=1, began=began - 3600, ended=began + 60)
    store.database.run_blocking(lambda tx: tx.session.add(line))

    export = json.dumps(definition(S3Bucket=bucket))
    done = store.one.aws_result("bcm-data-exports", "create-export", "--export", export)
    assert f"The policy of the bucket {bucket} does not allow bcm-data-exports.amazonaws.com" in done.stderr
    store.s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, StringEquals={"aws:SourceAccount": owner}))
    arn = store.one.aws("bcm-data-exports", "create-export", "--export", export)["ExportArn"]
    carry_out()
    [execution] = store.one.aws("bcm-data-exports", "list-executions", "--export-arn", arn)["Executions"]
    assert execution["ExecutionStatus"]["StatusCode"] == "DELIVERY_SUCCESS"
    month = f"BILLING_PERIOD={datetime.now(UTC):%Y-%m}"
    manifest = store.s3.get_object(Bucket=bucket, Key=f"all/costs/metadata/{month}/costs-Manifest.json")["Body"].read()
    [file] = json.loads(manifest)["dataFiles"]
    body = store.s3.get_object(Bucket=bucket, Key=file.removeprefix(f"s3://{bucket}/"))["Body"].read()
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(body).decode())))
    assert rows
    assert all(row["x_Operation"] == "NatGateway" for row in rows)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == pytest.approx(Decimal("0.004") / 60)
    with pytest.raises(ClientError):  # nothing but these two is there
        store.s3.delete_bucket(Bucket=bucket)
    for key in [one["Key"] for one in store.s3.list_objects_v2(Bucket=bucket)["Contents"]]:
        store.s3.delete_object(Bucket=bucket, Key=key)
    store.s3.delete_bucket(Bucket=bucket)
    store.one.aws_result("bcm-data-exports", "delete-export", "--export-arn", arn)
