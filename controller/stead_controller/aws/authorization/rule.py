"""The parts of authorization rules: they say on which resources an operation needs which action.

A rule is declared in `rules/<noun>.py` and reads like a line of the Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from stead_controller.aws.call import Call, Params
from stead_controller.catalog import ids
from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.resources.policy_keys import referred_resources

_PREFIXES: Final = {"service-quotas": "servicequotas"}  # of actions, where they differ from the service's name


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of an operation, as the parts of a rule see it."""

    service: str
    operation: str
    call: Call
    params: Params

    def values(self, path: str) -> list[str]:
        """Return the texts at a path such as `NetworkInterfaces.SubnetId`, through lists, each once."""
        found: list[Any] = [self.params]
        for name in path.split("."):
            members: list[Any] = []
            for one in found:
                value = one.get(name) if isinstance(one, Mapping) else None
                members += value if isinstance(value, list | tuple) else [] if value is None else [value]
            found = members
        return list(dict.fromkeys(value for value in found if isinstance(value, str) and value))

    def arn(self, kind: str, resource_id: str, *, service: str = "ec2", region: str | None = None) -> str:
        """Return the ARN of a resource of the caller's account."""
        cloud = self.call.cloud
        place = cloud.region if region is None else region
        if service == "ec2" and kind in OF_TYPE:
            return OF_TYPE[kind].arn(cloud.partition, place, self.call.caller.account_id, resource_id)
        return f"arn:{cloud.partition}:{service}:{place}:{self.call.caller.account_id}:{kind}/{resource_id}"


@dataclass(frozen=True, slots=True)
class Target:
    """A resource that an operation affects.

    `kind` and `resource_id` say whose facts conditions may depend on; both are empty without any, as for a resource
    to be created. `context` has the condition keys that the request itself gives, `tags` those that it sets.
    """

    arn: str
    kind: str = ""
    resource_id: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """An action that must be allowed on a resource; an empty action is the operation's own.

    If it is not allowed, the request is refused, or only its `part` of that key (`Call.refused`) if there is one.
    """

    target: Target
    action: str = ""
    part: str = ""


Part = Callable[[Asked], Iterator[Check]]


@dataclass(frozen=True, slots=True)
class Rule:
    """All parts of an operation's rule; if none of them finds a resource, the action must be allowed on `*`.

    `action` is the action's name if it is not the operation's. `free` operations are allowed for every signed request.
    """

    parts: tuple[Part, ...] = ()
    action: str = ""
    free: bool = False

    def checks(self, asked: Asked) -> Iterator[Check]:
        """Yield all the checks that must be allowed for the request."""
        if self.free:
            return
        own = f"{_PREFIXES.get(asked.service, asked.service)}:{self.action or asked.operation}"
        found = False
        for part in self.parts:
            for check in part(asked):
                found = True
                yield check if check.action else replace(check, action=own)
        if not found:
            yield Check(Target("*"), own)


FREE: Final = Rule(free=True)


def rule(*parts: Part, action: str = "") -> Rule:
    """Declare a rule; without parts the action has no resources."""
    return Rule(parts, action)


def named(kind: str, *paths: str) -> Part:
    """Check the EC2 resources whose ids (of key pairs: names) are in parameters."""

    def part(asked: Asked) -> Iterator[Check]:
        tags = _tags_given(asked)
        for path in paths:
            for resource_id in asked.values(path):
                yield Check(Target(asked.arn(kind, resource_id), kind, resource_id, tags=tags))

    return part


def by_id(path: str) -> Part:
    """Check EC2 resources of any type, which follows from their ids."""

    def part(asked: Asked) -> Iterator[Check]:
        tags = _tags_given(asked)
        for resource_id in asked.values(path):
            kind = ids.resource_type_of(resource_id)
            if kind == "key-pair":
                yield from referred(kind, "id", path)(asked)
            elif kind is not None:
                yield Check(Target(asked.arn(kind, resource_id), kind, resource_id, tags=tags))

    return part


def referred(kind: str, by: str, *paths: str) -> Part:
    """Check EC2 resources that parameters identify by something else, such as an association's id."""

    def part(asked: Asked) -> Iterator[Check]:
        texts = [text for path in paths for text in asked.values(path)]
        if not texts:
            return
        for resource_id in referred_resources.find(asked.call.tx, asked.call.caller, kind, by, texts):
            yield Check(Target(asked.arn(kind, resource_id), kind, resource_id, tags=_tags_given(asked)))

    return part


def made(kind: str, **context: str) -> Part:
    """Check an EC2 resource to be created, with its tags, which also need `ec2:CreateTags`.

    `context` names condition keys of EC2 whose values are parameters: `VolumeSize="Size"`.
    """

    def part(asked: Asked) -> Iterator[Check]:
        yield from making(asked, kind, {f"ec2:{key}": asked.params.get(name) for key, name in context.items()})

    return part


def tagged(kind: str) -> Part:
    """Check only the tags of a resource to be created; creating it needs no other permission."""

    def part(asked: Asked) -> Iterator[Check]:
        yield from (check for check in making(asked, kind, {}) if check.action)

    return part


def making(asked: Asked, kind: str, context: Mapping[str, Any], *, name: str = "*") -> Iterator[Check]:
    """Yield the checks of one EC2 resource to be created; only a few have a `name` before they exist."""
    tags = tags_on_create(asked.params, kind)
    arn = asked.arn(kind, name)
    yield Check(Target(arn, context=context, tags=tags))
    if tags:
        yield Check(Target(arn, context={**context, "ec2:CreateAction": asked.operation}, tags=tags), "ec2:CreateTags")


def tags_on_create(params: Params, kind: str) -> dict[str, str]:
    """Return the tags that a request sets on a new resource of this kind."""
    tags = [
        tag
        for one in params.get("TagSpecifications", ())
        if one.get("ResourceType") == kind
        for tag in one.get("Tags", ())
    ]
    return {tag["Key"]: tag.get("Value", "") for tag in (*tags, *params.get("Tags", ())) if "Key" in tag}


def _tags_given(asked: Asked) -> dict[str, str] | None:
    """Return the tags that CreateTags and DeleteTags are about."""
    given = asked.params.get("Tags")
    if asked.operation not in ("CreateTags", "DeleteTags") or not given:
        return None
    return {tag["Key"]: tag.get("Value", "") for tag in given if "Key" in tag}
