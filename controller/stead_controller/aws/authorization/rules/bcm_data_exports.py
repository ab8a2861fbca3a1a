"""AWS Data Exports: exports by their ARNs, and the tables that they read.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbillingandcostmanagementdataexports.html.
"""

import re
from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule

_KIND: Final = "data-export"
_FROM: Final = re.compile(r"\bFROM\s+(\w+)", re.IGNORECASE)


def _arn(asked: Asked, resource: str) -> str:
    cloud = asked.call.cloud
    return f"arn:{cloud.partition}:bcm-data-exports:{cloud.region}:{asked.call.caller.account_id}:{resource}"


def _new(asked: Asked) -> Iterator[Check]:
    for name in asked.values("Export.Name"):
        yield Check(Target(_arn(asked, f"export/{name}-*"), tags=_tags(asked)))


def _by_arn(path: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for arn in asked.values(path):
            yield Check(Target(arn, _KIND, arn, tags=_tags(asked)))

    return part


def _read_table(asked: Asked) -> Iterator[Check]:
    for text in asked.values("Export.DataQuery.QueryStatement"):
        found = _FROM.search(text)
        yield Check(Target(_arn(asked, f"table/{found[1].upper() if found else '*'}")))


def _named_table(asked: Asked) -> Iterator[Check]:
    for name in asked.values("TableName"):
        yield Check(Target(_arn(asked, f"table/{name}")))


def _tags(asked: Asked) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in asked.params.get("ResourceTags") or () if "Key" in tag}
    return tags | dict.fromkeys(asked.params.get("ResourceTagKeys") or (), "")


_NAMED: Final = _by_arn("ExportArn")
_TAGGED: Final = _by_arn("ResourceArn")

RULES: Final[dict[str, Rule]] = {
    "CreateExport": rule(_new, _read_table),
    "DeleteExport": rule(_NAMED),
    "GetExecution": rule(_NAMED),
    "GetExport": rule(_NAMED),
    "GetTable": rule(_named_table),
    "ListExecutions": rule(_NAMED),
    "ListExports": rule(),
    "ListTables": rule(),
    "ListTagsForResource": rule(_TAGGED),
    "TagResource": rule(_TAGGED),
    "UntagResource": rule(_TAGGED),
    "UpdateExport": rule(_NAMED, _read_table),
}
