"""What became of one call, for whoever keeps records of calls."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from stead_controller.request.caller import Caller


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call and its outcome.

    `access_key_id` is what the request names, whether or not the key exists; `caller` is None when nobody was
    established. `params` and `result` are as the operation had them, secrets in clear: what is kept of them is masked
    first (`aws/audit`). `weight` is about how many bytes the record holds in memory. `additional` is what CloudTrail
    calls additionalEventData. `owner_id` is the account of what was used, where it may be another than the caller's;
    `is_owners` says that the record is that one's. `endpoint_id` is the VPC endpoint that it came by. `has_changed`
    says that the call may have changed something.
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
        """Give the record that another account has of it, whose role or bucket was used; None where there is none.

        https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html,
        sharedEventID
        """
        if self.caller is None or self.owner_id in ("", self.caller.account_id) or self.error_code is not None:
            return None
        return replace(self, event_id=str(uuid.uuid4()), is_owners=True)


type OnCall = Callable[[CallRecord], Awaitable[None] | None]
"""Takes what became of a call; the answer waits for it where it can be waited for, and is another one on OutOfRoom."""
