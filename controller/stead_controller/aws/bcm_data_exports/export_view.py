"""An Export as it is given and shown, its status, and pages: what all operations share."""

from typing import Any

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params
from stead_controller.errors import BadRequest, InvalidParameter
from stead_controller.resources.data_exports import exports
from stead_controller.resources.data_exports.exports import Definition

type Shown = dict[str, Any]


def read(given: Shown) -> Definition:
    """Read an Export."""
    query, place = given["DataQuery"], given["DestinationConfigurations"]["S3Destination"]
    form = place["S3OutputConfigurations"]
    properties = query.get("TableConfigurations")
    return Definition(
        given["Name"],
        given.get("Description"),
        query["QueryStatement"],
        None if properties is None else {name: dict(found) for name, found in properties.items()},
        place["S3Bucket"],
        place.get("S3BucketOwner"),
        place["S3Prefix"],
        place["S3Region"],
        form["OutputType"],
        form["Format"],
        form["Compression"],
        form["Overwrite"],
        given["RefreshCadence"]["Frequency"],
    )


def check_arn(given: Shown, arn: str | None) -> None:
    """Raise InvalidParameter if an Export names another export than the request: a new one has no ARN yet."""
    named = given.get("ExportArn")
    if named is not None and named != arn:
        raise InvalidParameter(f"The export has the ARN {named[:300]}, which is not that of the request.")


def export(call: Call, row: Any, text: str) -> Shown:
    """Show an export with its ARN, by a definition of it."""
    made = Definition.of_text(text)
    return {
        "ExportArn": exports.arn_of(call.cloud, row),
        "Name": made.name,
        "Description": made.description,
        "DataQuery": {"QueryStatement": made.query, "TableConfigurations": made.properties},
        "DestinationConfigurations": {
            "S3Destination": {
                "S3Bucket": made.bucket,
                "S3BucketOwner": made.owner,
                "S3Prefix": made.prefix,
                "S3Region": made.region,
                "S3OutputConfigurations": {
                    "OutputType": made.output_type,
                    "Format": made.format,
                    "Compression": made.compression,
                    "Overwrite": made.overwrite,
                },
            }
        },
        "RefreshCadence": {"Frequency": made.frequency},
    }


def status(row: Any) -> Shown:
    """Show how an export is."""
    return {
        "StatusCode": "HEALTHY" if row.reason is None else "UNHEALTHY",
        "StatusReason": row.reason,
        "CreatedAt": row.created,
        "LastUpdatedAt": row.updated,
        "LastRefreshedAt": row.refreshed,
    }


def page(call: Call, params: Params, operation: str) -> describe.Page:
    """Read MaxResults and NextToken; raises BadRequest for a token of another request."""
    try:
        return describe.page(call, params, operation, at_least=1, at_most=300, default=100)
    except InvalidParameter:
        raise
    except BadRequest as error:
        raise BadRequest(error.message, code="ValidationException") from error


def read_tags(given: list[dict[str, str]] | None) -> dict[str, str]:
    """Read tags of an export."""
    return {tag["Key"]: tag["Value"] for tag in given or ()}
