"""States of requests for Spot Instances, and EC2's codes of their status, as SQL over a request and its instance.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html.
"""

from typing import Final

from sqlalchemy import and_, case, func, or_

from stead_controller.db.tables import Instance, SpotRequest
from stead_controller.resources.fleet.waiting_spot_requests import BAD, CANCELLED, EXPIRED, NO_CAPACITY, TOO_EARLY
from stead_controller.resources.instances.instance_states import SPOT_INTERRUPTION, USER_SHUTDOWN
from stead_controller.resources.instances.spot_instances import EVALUATED

MESSAGES: Final = {
    BAD: "Your Spot request failed due to bad parameters.",
    CANCELLED: "Your Spot request was canceled before it was fulfilled.",
    NO_CAPACITY: "There is no Spot capacity available that matches your request.",
    "price-too-low": "Your Spot request price is lower than the minimum required Spot request fulfillment price.",
    "constraint-not-fulfillable": "Your Spot request can't be fulfilled now due to one of its constraints.",
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-stopped-by-user": "Your Spot Instance was stopped.",
    "instance-terminated-by-user": "Your Spot Instance was terminated.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated because there is no longer enough Spot "
    "capacity available.",
    "limit-exceeded": "Your Spot request can't be fulfilled now due to a limit of your account.",
    "marked-for-termination": "Your Spot Instance is marked for termination because there is no longer enough Spot "
    "capacity available.",
    TOO_EARLY: "Your Spot request will not be evaluated until its scheduled time.",
    EVALUATED: "Your Spot request has been submitted, and is pending evaluation.",
    "placement-group-constraint": "Your Spot request can't be fulfilled now because a Spot Instance can't be added to "
    "the placement group.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your Spot Instance is still running.",
    EXPIRED: "Your Spot request has expired because it was not fulfilled before its end.",
    "system-error": "Your Spot Instance was terminated due to a system error.",
}
"""What each code of a status means."""

WITHOUT: Final = SpotRequest.instance_id.is_(None)
"""Whether a request has no instance: it waits, or has ended."""

STATE_WITHOUT: Final = case(
    (SpotRequest.ended.is_(None), "open"), (SpotRequest.status == BAD, "failed"), else_="cancelled"
)
"""The state of a request without an instance; its status is a column."""

_OVER: Final = Instance.state.in_(("shutting-down", "terminated"))

_STOPPED: Final = and_(Instance.state.in_(("stopping", "stopped")), Instance.state_reason_code == USER_SHUTDOWN.code)

STATE_WITH: Final = case(
    (SpotRequest.cancelled.is_not(None), "cancelled"),
    (and_(_OVER, SpotRequest.persistent.is_(True)), "open"),
    (_OVER, "closed"),
    (_STOPPED, "disabled"),
    else_="active",
)
"""The state of a request with an instance."""

# In this order: what has become of the instance counts more than what is to become of it.
STATUS_WITH: Final = case(
    (and_(_OVER, Instance.state_reason_code == SPOT_INTERRUPTION.code), "instance-terminated-no-capacity"),
    (and_(_OVER, Instance.state_reason_code.like("Client.%")), "instance-terminated-by-user"),
    (_OVER, "system-error"),
    (SpotRequest.cancelled.is_not(None), "request-canceled-and-instance-running"),
    (_STOPPED, "instance-stopped-by-user"),
    (Instance.interruption.is_not(None), "marked-for-termination"),
    else_="fulfilled",
)
"""The code of the status of a request with an instance."""

STATE: Final = case((WITHOUT, STATE_WITHOUT), else_=STATE_WITH)
STATUS: Final = case((WITHOUT, SpotRequest.status), else_=STATUS_WITH)
CHANGED: Final = func.coalesce(
    case((or_(_OVER, _STOPPED), Instance.state_changed)),
    SpotRequest.cancelled,
    SpotRequest.status_time,
    SpotRequest.created,
)
"""When a request got its status. For all three the query joins the instance, if there is one."""
