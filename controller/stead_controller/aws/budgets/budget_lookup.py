"""Whose budget a request is about, words of the model, and pages: what all operations share."""

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params
from stead_controller.aws.protocol.models import load_service
from stead_controller.errors import BadRequest, InvalidParameter, NotAuthorized, Unsupported
from stead_controller.resources.budgets import budget_notifications, budgets
from stead_controller.resources.budgets.budget_notifications import Threshold
from stead_controller.resources.budgets.budgets import ShownBudget
from stead_controller.resources.budgets.thresholds import PERCENTAGE

SERVICE: Final = "budgets"


def require_own(call: Call, params: Params) -> None:
    """Raise NotAuthorized for another account's budgets."""
    if params["AccountId"] != call.caller.account_id:
        raise NotAuthorized(f"Account {call.caller.account_id} may not use the budgets of {params['AccountId']}.")


def find(call: Call, params: Params) -> ShownBudget:
    """Return the budget that a request names; raises NotAuthorized, NotFound."""
    require_own(call, params)
    return budgets.find(call.tx, call.caller, params["BudgetName"])


def require_word(word: str, shape: str) -> str:
    """Return a word that is one of a shape of the model; raises InvalidParameter."""
    allowed = _words(shape)
    if word not in allowed:
        raise InvalidParameter(f"{word[:100]} is none of the values of {shape}: {', '.join(allowed)}.")
    return word


def page(call: Call, params: Params, operation: str, *, most: int = 100, default: int = 100) -> describe.Page:
    """Read MaxResults and NextToken; raises BadRequest for a token of another request."""
    try:
        return describe.page(call, params, operation, at_least=1, at_most=most, default=default)
    except InvalidParameter:
        raise
    except BadRequest as error:
        raise BadRequest(error.message, code="InvalidNextTokenException") from error


def read_threshold(given: dict[str, Any]) -> Threshold:
    """Read a Notification; its state is told, and by that it is not known."""
    state = given.get("NotificationState")
    if state is not None:
        require_word(state, "NotificationState")
    return Threshold(
        require_word(given["NotificationType"], "NotificationType"),
        require_word(given["ComparisonOperator"], "ComparisonOperator"),
        given["Threshold"],
        require_word(given.get("ThresholdType") or PERCENTAGE, "ThresholdType"),
    )


def read_topic(call: Call, given: dict[str, Any]) -> str:
    """Return the topic of a Subscriber; raises InvalidParameter, Unsupported for mail."""
    topic = read_address(given)
    return budget_notifications.require_topic(call.tx, call.caller, call.cloud, topic)


def read_address(given: dict[str, Any]) -> str:
    """Return the address of a Subscriber, which is a topic; raises InvalidParameter, Unsupported for mail."""
    if require_word(given["SubscriptionType"], "SubscriptionType") != "SNS":
        raise Unsupported(
            "Subscribers by EMAIL are not supported by this cloud, which sends no mail: subscribe an SNS topic, and a "
            "URL to it."
        )
    return str(given["Address"])


def only_topic(call: Call, subscribers: list[dict[str, Any]]) -> str:
    """Return the topic of the only subscriber that there can be; raises InvalidParameter."""
    found = [read_topic(call, each) for each in subscribers]
    if len(found) != 1:
        raise InvalidParameter(f"There must be one SNS subscriber, and no more; there are {len(found)}.")
    return found[0]


def subscriber(topic: str) -> dict[str, str]:
    """Show a topic as a Subscriber."""
    return {"SubscriptionType": "SNS", "Address": topic}


def read_tags(given: list[dict[str, str]] | None) -> dict[str, str]:
    """Read tags of a resource."""
    return {tag["Key"]: tag["Value"] for tag in given or ()}


def seconds(moment: datetime | None) -> int | None:
    """Return a time as whole seconds since 1970."""
    return None if moment is None else int(moment.timestamp())


def moment(of: int) -> datetime:
    """Return whole seconds since 1970 as a time."""
    return datetime.fromtimestamp(of, UTC)


@cache
def _words(shape: str) -> tuple[str, ...]:
    return tuple(getattr(load_service(SERVICE).model.shape_for(shape), "enum", ()))
