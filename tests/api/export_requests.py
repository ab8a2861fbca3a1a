"""Data Exports' part of `base_requests.py`: an export to a bucket whose policy allows it, and good requests about it."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from stead_controller.aws.bcm_data_exports import export_view
from stead_controller.db.tables import Bucket, DataExportExecution
from tests.api.conftest import Api

Named = dict[str, Any]
OWN: Final = "111111111111"
SERVICE: Final = "bcm-data-exports.amazonaws.com"
_FORM: Final = {
    "OutputType": "CUSTOM",
    "Format": "TEXT_OR_CSV",
    "Compression": "GZIP",
    "Overwrite": "OVERWRITE_REPORT",
}


def policy(bucket: str, **conditions: Any) -> str:
    """Write the policy that AWS's documentation asks for."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["billingreports.amazonaws.com", SERVICE]},
        "Action": ["s3:PutObject", "s3:GetBucketPolicy"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        **({"Condition": conditions} if conditions else {}),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def add_bucket(api: Api, name: str, text: str | None, account_id: str = OWN) -> None:
    """Make a bucket with a policy, without a server behind."""
    now = datetime.now(UTC)
    api.run(
        lambda tx: tx.session.add(
            Bucket(
                name=name, account_id=account_id, backend_name=f"b-{name}", state="available", created=now, policy=text
            )
        )
    )


def definition(name: str = "costs", **changes: Any) -> Named:
    """Return an Export; changes are of its destination."""
    place = {"S3Bucket": "bills", "S3Prefix": "all", "S3Region": "us-east-1", "S3OutputConfigurations": _FORM}
    return {
        "Name": name,
        "DataQuery": {
            "QueryStatement": "SELECT BilledCost, x_Operation FROM FOCUS_1_2_AWS",
            "TableConfigurations": {"FOCUS_1_2_AWS": {"TIME_GRANULARITY": "DAILY"}},
        },
        "DestinationConfigurations": {"S3Destination": place | changes},
        "RefreshCadence": {"Frequency": "SYNCHRONOUS"},
    }


def build(api: Api) -> Named:
    """Make a bucket and an export to it that was carried out once."""
    add_bucket(api, "bills", policy("bills"))
    client = api.client(api.world.one, "bcm-data-exports")
    arn = client.create_export(Export=definition())["ExportArn"]
    now = datetime.now(UTC)
    about = {
        "export_id": arn[-36:],
        "definition": export_view.read(definition()).to_text(),
        "status": "DELIVERY_SUCCESS",
    }
    api.run(lambda tx: tx.session.add(DataExportExecution(id="e" * 36, created=now, updated=now, **about)))
    return {"data_export": arn}


_OF_EXPORT: Final = {"ExportArn": "{data_export}"}
_TAGGED: Final = {"ResourceArn": "{data_export}"}
BASES: Final[dict[str, Named]] = {
    "CreateExport": {"Export": definition("new")},
    "DeleteExport": _OF_EXPORT,
    "GetExecution": _OF_EXPORT | {"ExecutionId": "e" * 36},
    "GetExport": _OF_EXPORT,
    "GetTable": {"TableName": "FOCUS_1_2_AWS"},
    "ListExecutions": _OF_EXPORT,
    "ListExports": {},
    "ListTables": {},
    "UpdateExport": _OF_EXPORT | {"Export": definition()},
    "bcm-data-exports:ListTagsForResource": _TAGGED,
    "bcm-data-exports:TagResource": _TAGGED | {"ResourceTags": [{"Key": "a", "Value": "b"}]},
    "bcm-data-exports:UntagResource": _TAGGED | {"ResourceTagKeys": ["a"]},
}
VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    **{
        (name, "Export.DataQuery.TableConfigurations"): {"FOCUS_1_2_AWS": {}}
        for name in ("CreateExport", "UpdateExport")
    },
    **{
        (name, "Export.DestinationConfigurations.S3Destination.S3BucketOwner"): OWN
        for name in ("CreateExport", "UpdateExport")
    },
    ("UpdateExport", "Export.ExportArn"): "{data_export}",
    ("GetTable", "TableProperties"): {"TIME_GRANULARITY": "DAILY"},
}
