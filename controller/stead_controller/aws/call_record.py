"""The outcome of one call, for those who record calls."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from stead_controller.request.caller import Caller


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call and its outcome.

    `access_key_id` is what the request names, whether or not the key exists; `caller` is None if none was
    authenticated. `params` and `result` are as the operation had them, with secrets in clear text: they are masked
    before they are stored (`aws/audit`). `weight` is the record's approximate size in memory, in bytes. `additional` is
    CloudTrail's additionalEventData. `owner_id` is the account that owns the used resource, if it may not be the
    caller's; `is_owners` says that the record is for that account. `endpoint_id` is the VPC endpoint that it came
    through. `has_changed` says that the call may have changed something.
    """

    request_id: str
    event_id: str
    time: datetime
    service: str
    operation: str | None
    caller: Caller | None
    access_key_id: str
    source_ip: str
    user_agent: str
    status: int
    error_code: str | None
    error_message: str | None
    seconds: float
    weight: int
    params: Mapping[str, Any] = field(repr=False)
    result: Mapping[str, Any] | None = field(repr=False)
    additional: Mapping[str, Any] = field(default_factory=dict)
    owner_id: str = ""
    is_owners: bool = False
    endpoint_id: str = ""
    has_changed: bool = False

    def of_owner(self) -> "CallRecord | None":
        """Return the record for the other account whose role or bucket was used; None if there is none.

        https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html,
        sharedEventID
        """
        if self.caller is None or self.owner_id in ("", self.caller.account_id) or self.error_code is not None:
            return None
        return replace(self, event_id=str(uuid.uuid4()), is_owners=True)


type OnCall = Callable[[CallRecord], Awaitable[None] | None]
"""Handles the outcome of a call; the answer waits for it where that is possible, and becomes an error on OutOfRoom."""
