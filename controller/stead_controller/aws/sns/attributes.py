"""Attributes of topics and subscriptions that are given as texts by name."""

from collections.abc import Mapping
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.notifications import filter_policies
from stead_controller.resources.notifications.subscriptions import Wishes

# What a topic is anyway.
_OF_TOPICS: Final = {
    "ContentBasedDeduplication": ("", "false"),
    "DeliveryPolicy": ("",),
    "FifoTopic": ("", "false"),
    "KmsMasterKeyId": ("",),
    "SignatureVersion": ("2",),
    "TracingConfig": ("", "PassThrough"),
}
_UNBUILT_TOPICS: Final = ("ArchivePolicy", "DataProtectionPolicy", "FifoThroughputScope", "Policy")
_OF_SUBSCRIPTIONS: Final = {
    "DeliveryPolicy": ("",),
    "RedrivePolicy": ("", "{}"),
}
_UNBUILT_SUBSCRIPTIONS: Final = ("ReplayPolicy", "SubscriptionRoleArn")
_WISHES: Final = ("RawMessageDelivery", "FilterPolicy", "FilterPolicyScope")
_SCOPES: Final = (filter_policies.ATTRIBUTES, filter_policies.BODY)
_FEEDBACK: Final = ("RoleArn", "FeedbackSampleRate")


def display_name(given: Mapping[str, str]) -> str:
    """Return the DisplayName that attributes of a topic set; raises Unsupported, InvalidParameter for all others."""
    for name, value in given.items():
        if name != "DisplayName":
            _check(name, value, _OF_TOPICS, _UNBUILT_TOPICS)
    return given.get("DisplayName", "")


def wishes(given: Mapping[str, str]) -> Wishes:
    """Return what attributes of a subscription say of its messages; raises Unsupported, InvalidParameter."""
    for name, value in given.items():
        if name not in _WISHES:
            _check(name, value, _OF_SUBSCRIPTIONS, _UNBUILT_SUBSCRIPTIONS)
    raw, policy, scope = (given.get(name) for name in _WISHES)
    if scope is not None and scope not in _SCOPES:
        raise InvalidParameter(
            f"Invalid parameter: FilterPolicyScope: Invalid value [{scope[:100]}]. Please use either "
            f"{filter_policies.BODY} or {filter_policies.ATTRIBUTES}"
        )
    return Wishes(None if raw is None else truth("RawMessageDelivery", raw), "" if policy == "{}" else policy, scope)


def truth(name: str, value: str) -> bool:
    """Read true or false; raises InvalidParameter."""
    if value.lower() not in ("true", "false"):
        raise InvalidParameter(f"Invalid parameter: {name}")
    return value.lower() == "true"


def _check(name: str, value: str, same: Mapping[str, tuple[str, ...]], unbuilt: tuple[str, ...]) -> None:
    if name in same:
        if value not in same[name]:
            known = " or ".join(repr(one) for one in same[name])
            raise Unsupported(f"The attribute {name} is not supported with another value than {known}.")
    elif name in unbuilt or name.endswith(_FEEDBACK):
        raise Unsupported(f"The attribute {name} is not supported.")
    else:
        raise InvalidParameter("Invalid parameter: AttributeName")
