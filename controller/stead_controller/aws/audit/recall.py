"""Rebuilds an AuditEvent from a line of the audit files, for rows that were not saved because the process was killed.

Times of records are in whole seconds, and only the resources that the record itself names are known.
"""

import json
from datetime import datetime
from typing import Any, Final

from stead_controller.audit.stored_events import AuditEvent
from stead_controller.aws.audit.touched import touched_in_record

_SESSIONS: Final = frozenset({"AssumedRole", "FederatedUser"})


def recall(line: str) -> AuditEvent | None:
    """Parse a record; None if the line is not a record of an account's call."""
    try:
        record: dict[str, Any] = json.loads(line)
        account_id = record["recipientAccountId"] if record["managementEvent"] else ""
        identity, source, read_only = record["userIdentity"], record["eventSource"], record["readOnly"]
        answered = None if read_only else record["responseElements"]
        return AuditEvent(
            event_id=record["eventID"],
            account_id=account_id,
            time=datetime.fromisoformat(record["eventTime"]),
            name=record["eventName"],
            source=source,
            user_name=_user_name(identity),
            access_key_id=identity.get("accessKeyId", ""),
            read_only=read_only,
            resources=tuple(touched_in_record(source.partition(".")[0], record["requestParameters"], answered)),
            text=line,
            is_data=not record["managementEvent"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _user_name(identity: dict[str, Any]) -> str:
    if identity["type"] in _SESSIONS:
        return str(identity["arn"]).rpartition("/")[2]
    return str(identity.get("userName") or ("root" if "arn" in identity else ""))
