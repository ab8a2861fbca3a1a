"""What became of one call, for whoever keeps records of calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stead_controller.resources.caller import Caller


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call and its outcome.

    `access_key_id` is what the request names, whether or not the key exists; `caller` is None when nobody was
    established. `params` and `result` are as the operation had them, secrets in clear: what is kept of them is masked
    first (`aws/audit`). `weight` is about how many bytes the record holds in memory.
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
