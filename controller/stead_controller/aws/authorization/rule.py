"""What an authorization rule is made of: parts that say which resources an operation needs which action on.

A rule is declared in `rules/<noun>.py` and reads like a line of the Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stead_controller.aws.call import Call, Params
from stead_controller.catalog import ids
from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.resources.policy_keys import referred_resources

_PREFIXES: Final = {"service-quotas": "servicequotas"}  # of actions, where they are not the service's name


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation's request, as parts of a rule look at it."""

    service: str
    operation: str
    call: Call
    params: Params

    def values(self, path: str) -> list[str]:
        """Give the texts at a path such as `NetworkInterfaces.SubnetId`, through lists, each once."""
        found: list[Any] = [self.params]
        for name in path.split("."):
            members: list[Any] = []
            for one in found:
                value = one.get(name) if isinstance(one, Mapping) else None
                members += value if isinstance(value, list | tuple) else [] if value is None else [value]
            found = members
        return list(dict.fromkeys(value for value in found if isinstance(value, str) and value))

    def arn(self, kind: str, resource_id: str, *, service: str = "ec2", region: str | None = None) -> str:
        """Give the ARN of a resource of the caller's account."""
        cloud = self.call.cloud
        place = cloud.region if region is None else region
        if service == "ec2" and kind in OF_TYPE:
            return OF_TYPE[kind].arn(cloud.partition, place, self.call.caller.account_id, resource_id)
        return f"arn:{cloud.partition}:{service}:{place}:{self.call.caller.account_id}:{kind}/{resource_id}"


@dataclass(frozen=True, slots=True)
class Target:
    """A resource that an operation touches.

    `kind` and `resource_id` say whose facts conditions may ask for; both are empty where there are none, as for what is
    yet to be made. `context` has the condition keys that the request itself gives, `tags` those that it sets.
    """

    arn: str
    kind: str = ""
    resource_id: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """An action that must be allowed on a resource; an empty action is the operation's own."""

    target: Target
    action: str = ""


Part = Callable[[Asked], Iterator[Check]]


@dataclass(frozen=True, slots=True)
class Rule:
    """All parts of an operation's rule; when none of them finds a resource, the action must be allowed on `*`.

    `action` is the action's name where that is not the operation's. What is `free` everybody may do who has signed.
    """

    parts: tuple[Part, ...] = ()
    action: str = ""
    free: bool = False

    def checks(self, asked: Asked) -> Iterator[Check]:
        """Give what must be allowed, every one of them, for the request to go on."""
        if self.free:
            return
        own = f"{_PREFIXES.get(asked.service, asked.service)}:{self.action or asked.operation}"
        found = False
        for part in self.parts:
            for check in part(asked):
                found = True
                yield check if check.action else Check(check.target, own)
        if not found:
            yield Check(Target("*"), own)


FREE: Final = Rule(free=True)


def rule(*parts: Part, action: str = "") -> Rule:
    """Declare a rule; without parts the action has no resources."""
    return Rule(parts, action)


def named(kind: str, *paths: str) -> Part:
    """Take the resources of EC2 whose ids, or of a key pair names, stand in parameters."""

    def part(asked: Asked) -> Iterator[Check]:
        tags = _tags_given(asked)
        for path in paths:
            for resource_id in asked.values(path):
                yield Check(Target(asked.arn(kind, resource_id), kind, resource_id, tags=tags))

    return part


def by_id(path: str) -> Part:
    """Take resources of EC2 of any type, which their ids tell."""

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
    """Take the resources of EC2 that parameters name by something else, such as an association's id."""

    def part(asked: Asked) -> Iterator[Check]:
        texts = [text for path in paths for text in asked.values(path)]
        if not texts:
            return
        for resource_id in referred_resources.find(asked.call.tx, asked.call.caller, kind, by, texts):
            yield Check(Target(asked.arn(kind, resource_id), kind, resource_id, tags=_tags_given(asked)))

    return part


def made(kind: str, **context: str) -> Part:
    """Take a resource of EC2 that is yet to be made, with its tags; they need `ec2:CreateTags`, too.

    `context` names condition keys of EC2 that parameters give: `VolumeSize="Size"`.
    """

    def part(asked: Asked) -> Iterator[Check]:
        yield from making(asked, kind, {f"ec2:{key}": asked.params.get(name) for key, name in context.items()})

    return part


def tagged(kind: str) -> Part:
    """Take only the tags of a resource that is yet to be made, whose making needs nothing else."""

    def part(asked: Asked) -> Iterator[Check]:
        yield from (check for check in making(asked, kind, {}) if check.action)

    return part


def making(asked: Asked, kind: str, context: Mapping[str, Any], *, name: str = "*") -> Iterator[Check]:
    """Give the checks of one resource of EC2 that is yet to be made; few have a `name` before they are there."""
    tags = tags_on_create(asked.params, kind)
    arn = asked.arn(kind, name)
    yield Check(Target(arn, context=context, tags=tags))
    if tags:
        yield Check(Target(arn, context={**context, "ec2:CreateAction": asked.operation}, tags=tags), "ec2:CreateTags")


def tags_on_create(params: Params, kind: str) -> dict[str, str]:
    """Give the tags that a request sets on a new resource of this kind."""
    tags = [
        tag
        for one in params.get("TagSpecifications", ())
        if one.get("ResourceType") == kind
        for tag in one.get("Tags", ())
    ]
    return {tag["Key"]: tag.get("Value", "") for tag in (*tags, *params.get("Tags", ())) if "Key" in tag}


def _tags_given(asked: Asked) -> dict[str, str] | None:
    """Give the tags that CreateTags and DeleteTags are about."""
    given = asked.params.get("Tags")
    if asked.operation not in ("CreateTags", "DeleteTags") or not given:
        return None
    return {tag["Key"]: tag.get("Value", "") for tag in given if "Key" in tag}
