"""Operations of subscriptions; two of them work without a signature, by what their endpoint was sent."""

from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.sns import attributes
from stead_controller.aws.sns.topics import EFFECTIVE_POLICY, PAGE
from stead_controller.errors import InvalidParameter
from stead_controller.resources.notifications import filter_policies, subscriptions, topics
from stead_controller.resources.notifications.subscriptions import Confirmation, Place, SubscriptionRequest

_PENDING: Final = "pending confirmation"
_UNCONFIRMED: Final = "PendingConfirmation"


@operation("Subscribe", service="sns")
def subscribe(call: Call, params: Params) -> Result:
    """Send a URL the question whether it wants the messages of a topic."""
    topic = topics.find(call.tx, call.caller, call.cloud, params["TopicArn"])
    endpoint = params.get("Endpoint")
    if not endpoint:
        raise InvalidParameter("Invalid parameter: Endpoint")
    wishes = attributes.wishes(params.get("Attributes") or {})
    asked = SubscriptionRequest(topic, params["Protocol"], endpoint, wishes)
    row = subscriptions.subscribe(call.tx, call.caller, call.cloud, asked, call.now)
    is_shown = params.get("ReturnSubscriptionArn") or row.state == subscriptions.CONFIRMED
    return {"SubscriptionArn": subscriptions.arn_of(call.cloud, row) if is_shown else _PENDING}


@operation("ConfirmSubscription", service="sns", signed=False)
def confirm_subscription(call: Call, params: Params) -> Result:
    """Begin a subscription, by the token that its endpoint was sent."""
    locked = attributes.truth("AuthenticateOnUnsubscribe", params.get("AuthenticateOnUnsubscribe") or "false")
    asked = Confirmation(params["TopicArn"], params["Token"], locked)
    row = subscriptions.confirm(call.tx, call.caller, call.cloud, asked, call.now)
    return {"SubscriptionArn": subscriptions.arn_of(call.cloud, row)}


@operation("Unsubscribe", service="sns", signed=False)
def unsubscribe(call: Call, params: Params) -> Result:
    """End a subscription."""
    subscriptions.end(call.tx, call.caller, call.cloud, params["SubscriptionArn"], call.now)
    return {}


@operation("ListSubscriptions", service="sns", writes=False)
def list_subscriptions(call: Call, params: Params) -> Result:
    """List all subscriptions."""
    return _list(call, params, "ListSubscriptions", None)


@operation("ListSubscriptionsByTopic", service="sns", writes=False)
def list_subscriptions_by_topic(call: Call, params: Params) -> Result:
    """List the subscriptions of a topic."""
    topic = topics.find(call.tx, call.caller, call.cloud, params["TopicArn"])
    return _list(call, params, "ListSubscriptionsByTopic", topic)


@operation("GetSubscriptionAttributes", service="sns", writes=False)
def get_subscription_attributes(call: Call, params: Params) -> Result:
    """Describe a subscription."""
    row = subscriptions.find(call.tx, call.caller.account_id, call.cloud, params["SubscriptionArn"])
    filtered = {} if row.filter_policy is None else _filter(row)
    return {
        "Attributes": filtered
        | {
            "SubscriptionArn": params["SubscriptionArn"],
            "TopicArn": topics.arn_of(call.cloud, row.account_id, row.topic),
            "Protocol": row.protocol,
            "Endpoint": row.endpoint,
            "Owner": row.account_id,
            "SubscriptionPrincipal": row.principal,
            "ConfirmationWasAuthenticated": _text(row.authenticated),
            "PendingConfirmation": _text(row.state == subscriptions.PENDING),
            "RawMessageDelivery": _text(row.raw),
            "EffectiveDeliveryPolicy": EFFECTIVE_POLICY,
        }
    }


@operation("SetSubscriptionAttributes", service="sns")
def set_subscription_attributes(call: Call, params: Params) -> Result:
    """Change an attribute of a subscription."""
    row = subscriptions.find(call.tx, call.caller.account_id, call.cloud, params["SubscriptionArn"])
    subscriptions.change(row, attributes.wishes({params["AttributeName"]: params.get("AttributeValue") or ""}))
    return {}


def _list(call: Call, params: Params, name: str, topic: topics.ShownTopic | None) -> Result:
    page = describe.page(call, params, name, default=PAGE)
    place = Place(page.after[0] if page.after else None, PAGE + 1)
    shown, token = page.cut(subscriptions.page(call.tx, call.caller, topic, place), lambda row: (row.id,))
    return {"Subscriptions": [_view(call, row) for row in shown], "NextToken": token}


def _view(call: Call, row: subscriptions.ShownSubscription) -> dict[str, Any]:
    is_confirmed = row.state == subscriptions.CONFIRMED
    return {
        "SubscriptionArn": subscriptions.arn_of(call.cloud, row) if is_confirmed else _UNCONFIRMED,
        "Owner": row.account_id,
        "Protocol": row.protocol,
        "Endpoint": row.endpoint,
        "TopicArn": topics.arn_of(call.cloud, row.account_id, row.topic),
    }


def _filter(row: subscriptions.ShownSubscription) -> dict[str, str]:
    return {
        "FilterPolicy": row.filter_policy or "",
        "FilterPolicyScope": row.filter_scope or filter_policies.ATTRIBUTES,
    }


def _text(value: bool) -> str:
    return "true" if value else "false"
