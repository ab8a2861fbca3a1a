"""States of requests for Spot Instances, and EC2's codes of their status, as SQL over a request and its instance.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html.
"""

from typing import Final

from sqlalchemy import and_, case, func

from stead_controller.db.tables import Instance, SpotRequest
from stead_controller.resources.fleet.waiting_spot_requests import BAD, CANCELLED, EVALUATED, NO_CAPACITY
from stead_controller.resources.instances.instance_states import SPOT_INTERRUPTION

MESSAGES: Final = {
    BAD: "Your Spot request failed due to bad parameters.",
    CANCELLED: "Your Spot request was canceled before it was fulfilled.",
    NO_CAPACITY: "There is no Spot capacity available that matches your request.",
    "constraint-not-fulfillable": "Your Spot request can't be fulfilled now due to one of its constraints.",
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-terminated-by-user": "Your Spot Instance was terminated.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated because there is no longer enough Spot "
    "capacity available.",
    "limit-exceeded": "Your Spot request can't be fulfilled now due to a limit of your account.",
    "marked-for-termination": "Your Spot Instance is marked for termination because there is no longer enough Spot "
    "capacity available.",
    EVALUATED: "Your Spot request has been submitted, and is pending evaluation.",
    "placement-group-constraint": "Your Spot request can't be fulfilled now because a Spot Instance can't be added to "
    "the placement group.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your Spot Instance is still running.",
    "system-error": "Your Spot Instance was terminated due to a system error.",
}
"""What each code of a status means."""

WITHOUT: Final = SpotRequest.instance_id.is_(None)
"""Whether a request has no instance: it waits, or has ended."""

STATE_WITHOUT: Final = case(
    (SpotRequest.cancelled.is_not(None), "cancelled"), (SpotRequest.ended.is_not(None), "failed"), else_="open"
)
"""The state of a request without an instance; its status is a column."""

_OVER: Final = Instance.state.in_(("shutting-down", "terminated"))

STATE_WITH: Final = case((SpotRequest.cancelled.is_not(None), "cancelled"), (_OVER, "closed"), else_="active")
"""The state of a request with an instance."""

# In this order: what has become of the instance counts more than what is to become of it.
STATUS_WITH: Final = case(
    (and_(_OVER, Instance.state_reason_code == SPOT_INTERRUPTION.code), "instance-terminated-no-capacity"),
    (and_(_OVER, Instance.state_reason_code.like("Client.%")), "instance-terminated-by-user"),
    (_OVER, "system-error"),
    (SpotRequest.cancelled.is_not(None), "request-canceled-and-instance-running"),
    (Instance.interruption.is_not(None), "marked-for-termination"),
    else_="fulfilled",
)
"""The code of the status of a request with an instance."""

STATE: Final = case((WITHOUT, STATE_WITHOUT), else_=STATE_WITH)
STATUS: Final = case((WITHOUT, SpotRequest.status), else_=STATUS_WITH)
CHANGED: Final = func.coalesce(
    case((_OVER, Instance.state_changed)), SpotRequest.cancelled, SpotRequest.status_time, SpotRequest.created
)
"""When a request got its status. For all three the query joins the instance, if there is one."""
