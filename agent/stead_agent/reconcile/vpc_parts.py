"""The parts of each VPC as last collected, so that a VPC of which none has changed is not collected again.

Belongs to the event loop.
"""

from dataclasses import dataclass, field

from stead_agent.reconcile.plan import VpcContents, contents_of_vpc
from stead_agent.wanted import Key, Wanted
from stead_proto.v1.desired_pb2 import Resource


@dataclass(frozen=True, slots=True)
class VpcParts:
    """The parts of a VPC, and what follows from them alone."""

    contents: VpcContents
    wanted: frozenset[Key]
    local: frozenset[str]  # ids of the interfaces on this host
    referred: tuple[str, ...]  # ids of the groups that rules which are used here refer to
    foreign: frozenset[str]  # those of them that are not groups of this VPC


@dataclass(slots=True)
class PartsOfVpcs:
    """The parts of all VPCs."""

    _last: dict[str, tuple[int, VpcParts]] = field(default_factory=dict)

    def of(self, vpc_id: str, wanted: Wanted) -> VpcParts:
        """Return the parts of a VPC: the same object while none has changed, and none is being removed."""
        stamp = wanted.stamp(vpc_id)
        last = self._last.get(vpc_id)
        if last is not None and last[0] == stamp:
            return last[1]
        parts = {key: wanted.resources[key] for key in wanted.members(vpc_id) if key in wanted.resources}
        buried: dict[Key, Resource] = {}
        for key in wanted.members(vpc_id) - parts.keys():
            body = wanted.tombstones[key].body
            assert body is not None  # of what is gone nothing is a member
            buried[key] = body
        in_use = [key.id for key in buried if wanted.holders(key)]
        found = _facts(contents_of_vpc(parts, buried, in_use), frozenset(parts))
        if buried:
            self._last.pop(vpc_id, None)  # what guests have in use changes without a change of parts
        else:
            self._last[vpc_id] = stamp, found
        return found

    def forget(self, vpc_id: str) -> None:
        """Forget a VPC."""
        self._last.pop(vpc_id, None)


def _facts(contents: VpcContents, wanted: frozenset[Key]) -> VpcParts:
    used = {group_id for each in contents.interfaces for group_id in each.interface.security_group_ids}
    referred = {
        rule.group_id
        for each in contents.groups
        if each.id in used
        for rule in each.security_group.rules
        if rule.group_id
    }
    return VpcParts(
        contents=contents,
        wanted=wanted,
        local=frozenset(each.id for each in contents.interfaces),
        referred=tuple(sorted(referred)),
        foreign=frozenset(referred - {each.id for each in contents.groups}),
    )
