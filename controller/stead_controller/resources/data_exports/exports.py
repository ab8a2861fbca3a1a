"""Exports: made, found, changed and deleted.

See https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_DataExports_CreateExport.html.
"""

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import DataExport
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.data_exports import bucket_access, statement

MOST: Final = 100
MOST_TAGS: Final = 50
OVERWRITE: Final = "OVERWRITE_REPORT"
_VIEW: Final = "BILLING_VIEW_ARN"
_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")
_ARN: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):bcm-data-exports:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):export/"
    r"[0-9A-Za-z_-]{1,128}-(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
_PREFIX: Final = re.compile(r"(?!.*//)(?!(?:.*/)?\.{1,2}(?:/|\Z))[0-9A-Za-z!_.*'()/-]{0,256}")
_FORM: Final = {"output_type": "CUSTOM", "format": "TEXT_OR_CSV", "compression": "GZIP"}


@dataclass(frozen=True, slots=True)
class Definition:
    """What an export is: a query of a table, with `properties` of tables, and the place and the form of its files.

    `owner` is the account whose the bucket is; None is the export's own. What was not given is None.
    """

    name: str
    description: str | None
    query: str
    properties: dict[str, dict[str, str]] | None
    bucket: str
    owner: str | None
    prefix: str
    region: str
    output_type: str
    format: str
    compression: str
    overwrite: str
    frequency: str

    @property
    def folder(self) -> str:
        """The beginning of all keys that it writes."""
        prefix = self.prefix.strip("/")
        return f"{prefix}/{self.name}/" if prefix else f"{self.name}/"

    def to_text(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of_text(cls, text: str) -> "Definition":
        """Read what `to_text` has written."""
        return cls(**json.loads(text))


def arn_of(cloud: Cloud, row: DataExport) -> str:
    """Return an export's ARN."""
    return _arn(cloud, row.account_id, row.name, row.id)


def _arn(cloud: Cloud, account_id: str, name: str, export_id: str) -> str:
    return f"arn:{cloud.partition}:bcm-data-exports:{cloud.region}:{account_id}:export/{name}-{export_id}"


def create(  # noqa: PLR0917 - the parameters of the operation
    tx: Transaction, caller: Caller, cloud: Cloud, definition: Definition, tags: Mapping[str, str], now: datetime
) -> DataExport:
    """Make an export, which is carried out at once; raises InvalidParameter, Unsupported, LimitExceeded."""
    account_id, export_id = caller.account_id, str(uuid.uuid4())
    name = definition.name
    if not _NAME.fullmatch(name):
        raise InvalidParameter("The name of an export has 1 to 128 letters, digits, - and _.")
    mine = DataExport.account_id == account_id
    if tx.session.scalar(select(DataExport.id).where(mine, DataExport.name == name)) is not None:
        raise InvalidParameter(f"There is an export named {name} already.")
    if (tx.session.scalar(select(func.count()).select_from(DataExport).where(mine)) or 0) >= MOST:
        raise LimitExceeded(f"An account can have {MOST} exports at most.")
    check(tx, account_id, cloud, definition, _arn(cloud, account_id, name, export_id))
    _check_tags(tags)
    row = DataExport(
        id=export_id,
        account_id=account_id,
        name=name,
        definition=definition.to_text(),
        tags=json.dumps(tags, sort_keys=True),
        created=now,
        updated=now,
        due=now,
        revision=1,
    )
    tx.session.add(row)
    return row


def change(tx: Transaction, cloud: Cloud, row: DataExport, definition: Definition, now: datetime) -> None:
    """Give an export another definition, by which it is carried out at once; raises InvalidParameter, Unsupported."""
    if definition.name != row.name:
        raise InvalidParameter("The name of an export cannot be changed.")
    check(tx, row.account_id, cloud, definition, arn_of(cloud, row))
    row.definition = definition.to_text()
    row.updated, row.due, row.revision = now, now, row.revision + 1
    row.execution = None


def check(tx: Transaction, account_id: str, cloud: Cloud, definition: Definition, arn: str) -> None:
    """Raise InvalidParameter or Unsupported unless this cloud can carry out an export."""
    table = statement.parse(definition.query).table
    if others := sorted(set(definition.properties or ()) - {table.name}):
        raise InvalidParameter(f"There are properties of {others[0][:100]}, and the query is of {table.name}.")
    table.read(properties(definition, table.name, cloud, account_id))
    if definition.region != cloud.region:
        raise InvalidParameter(f"The bucket must be in {cloud.region}.")
    if not _PREFIX.fullmatch(definition.prefix):
        raise InvalidParameter(
            "S3Prefix has letters, digits, and !_.*'()/- only, 256 at most, and names no folder above."
        )
    for member, only in _FORM.items():
        if getattr(definition, member) != only:
            name = member.title().replace("_", "")
            raise Unsupported(f"Of {name} only {only} is supported by this cloud.")
    owner = definition.owner or account_id
    bucket_access.require(tx, definition.bucket, owner, definition.folder, arn, account_id)


def properties(definition: Definition, table: str, cloud: Cloud, account_id: str) -> dict[str, str]:
    """Return the properties that were given of a table; raises Unsupported for a view that is not the account's."""
    given = dict((definition.properties or {}).get(table, {}))
    own = f"arn:{cloud.partition}:billing::{account_id}:billingview/primary"
    if given.pop(_VIEW, own) != own:
        raise Unsupported(f"Of {_VIEW} only {own} is supported by this cloud.")
    return given


def find(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> DataExport:
    """Return an export of the caller's account by its ARN; raises NotFound."""
    row = look_up(tx, caller, cloud, arn)
    if row is None:
        raise NotFound("export", arn, message=f"The export {arn[:300]} does not exist.")
    return row


def look_up(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> DataExport | None:
    """Return an export of the caller's account by its ARN, None for anything else."""
    found = _ARN.fullmatch(arn)
    if found is None:
        return None
    row = tx.session.scalar(
        select(DataExport).where(DataExport.account_id == caller.account_id, DataExport.id == found["id"])
    )
    return row if row is not None and arn_of(cloud, row) == arn else None


def page(tx: Transaction, caller: Caller, *, after: str | None, limit: int) -> Sequence[DataExport]:
    """List exports of the caller's account by name."""
    query = select(DataExport).where(DataExport.account_id == caller.account_id)
    query = query if after is None else query.where(DataExport.name > after)
    return tx.session.scalars(query.order_by(DataExport.name).limit(limit)).all()


def delete(tx: Transaction, row: DataExport) -> None:
    """Delete an export; what it has written stays."""
    tx.session.delete(row)


def tags_of(row: DataExport) -> dict[str, str]:
    """Return the tags of an export."""
    found: dict[str, str] = json.loads(row.tags)
    return found


def tag(row: DataExport, tags: Mapping[str, str]) -> None:
    """Set tags; raises InvalidParameter, LimitExceeded."""
    changed = tags_of(row) | dict(tags)
    _check_tags(changed)
    row.tags = json.dumps(changed, sort_keys=True)


def untag(row: DataExport, keys: Iterable[str]) -> None:
    """Delete tags."""
    doomed = set(keys)
    row.tags = json.dumps({key: value for key, value in tags_of(row).items() if key not in doomed}, sort_keys=True)


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise LimitExceeded(f"An export can have {MOST_TAGS} tags at most.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidParameter(f"The tag {key[:128]} is invalid.")
