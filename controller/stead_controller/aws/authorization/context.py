"""The condition keys that every request has: caller, time and source.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html. Only those that the
policies in question depend on are looked up.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from stead_controller.aws.call import Call
from stead_controller.resources.iam import principal_keys
from stead_controller.resources.policy_keys import source_keys


def _of_source(name: str) -> Callable[[Call], Any]:
    return lambda call: source_keys.of_request(call.source_ip, call.via)[name]


# Values by condition key, in addition to those of the caller; None is a key that the request does not have.
_KEYS: Final[Mapping[str, Callable[[Call], Any]]] = {
    "aws:CurrentTime": lambda call: call.now,
    "aws:EpochTime": lambda call: int(call.now.timestamp()),
    "aws:RequestedRegion": lambda call: call.cloud.region,
    "aws:SecureTransport": lambda call: call.secure,
    **{name: _of_source(name) for name in source_keys.KEYS},
    "aws:UserAgent": lambda call: call.user_agent or None,
    "ec2:Region": lambda call: call.cloud.region,
}
_BY_LOWER_NAME: Final = {name.lower(): (name, value) for name, value in _KEYS.items()}
_OF_CALLERS: Final = {name.lower(): (name, value) for name, value in principal_keys.KEYS.items()}


def of_call(call: Call, keys: Collection[str]) -> dict[str, Any]:
    """Return the values of those of the keys, in lower case, that a request itself has."""
    found: dict[str, Any] = {}
    for key in keys:
        known = _BY_LOWER_NAME.get(key)
        if known is not None:
            name, value = known
            found[name] = value(call)
            continue
        of_caller = _OF_CALLERS.get(key)
        if of_caller is not None:
            name, read = of_caller
            found[name] = read(call.caller, call.now)
    return found


def of_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the condition keys of the tags that a request sets."""
    return {"aws:TagKeys": list(tags), **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}
