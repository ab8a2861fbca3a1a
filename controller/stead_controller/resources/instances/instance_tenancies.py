"""With whom an instance shares its host: what a launch asks for, and on which Dedicated Hosts an instance may start.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/dedicated-hosts-understanding.html.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, or_, select

from stead_controller.catalog import cpu_credits
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import DedicatedHost, Instance, PlacementGroup, Subnet
from stead_controller.errors import InvalidCombination, InvalidParameter, NoCapacity, Unsupported, WrongState
from stead_controller.placement.tenancy import DEDICATED, DEFAULT, HOST, KINDS, SHARED, Tenancy
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction

NO_HOST: Final = "IncompatibleHostRequirements"
"""EC2's code for an instance that none of the account's Dedicated Hosts may have."""

_AFFINITIES: Final = ("default", "host")


@dataclass(frozen=True, slots=True)
class TenancyRequest:
    """The tenancy that a request asks for, a Dedicated Host by its id, and the affinity to it; None where not given."""

    tenancy: str | None = None
    host_id: str | None = None
    affinity: str | None = None

    @property
    def kind(self) -> str:
        """The tenancy; whoever names a host means that host."""
        return self.tenancy or (HOST if self.host_id else DEFAULT)


@dataclass(frozen=True, slots=True)
class FoundTenancy:
    """The tenancy of new instances before their zone is known, and the Dedicated Hosts that they may be on."""

    kind: str
    account_id: str
    hosts: tuple[DedicatedHost, ...] = ()

    @property
    def zone(self) -> str | None:
        """The zone with most of these hosts; None where any zone will do."""
        return next((zone for zone, _ in Counter(host.zone for host in self.hosts).most_common(1)), None)

    def within(self, subnet: Subnet) -> Tenancy:
        """Return the tenancy of instances in a subnet; raises NoCapacity if no host is in its zone.

        In a VPC of dedicated tenancy no instance shares its host with other accounts.
        """
        if self.kind == DEFAULT:
            return Tenancy(DEDICATED, self.account_id) if subnet.instance_tenancy == DEDICATED else SHARED
        if self.kind == DEDICATED:
            return Tenancy(DEDICATED, self.account_id)
        there = frozenset(host.id for host in self.hosts if host.zone == subnet.zone)
        if not there:
            raise _no_host(f"in the Availability Zone {subnet.zone}")
        return Tenancy(HOST, self.account_id, there)


def check(asked: TenancyRequest) -> None:
    """Raise InvalidParameter or InvalidCombination for what no launch can ask for."""
    check_words(asked)
    check_together(asked, asked.kind)


def check_words(asked: TenancyRequest) -> None:
    """Raise InvalidParameter for what is no tenancy or no affinity."""
    if asked.tenancy not in (None, *KINDS):
        raise InvalidParameter(
            f"Value ({asked.tenancy}) for parameter tenancy is invalid. Expecting one of: {', '.join(KINDS)}."
        )
    if asked.affinity not in (None, *_AFFINITIES):
        raise InvalidParameter(
            f"Value ({asked.affinity}) for parameter affinity is invalid. Expecting default or host.",
            code="InvalidAffinity",
        )


def check_together(asked: TenancyRequest, kind: str) -> None:
    """Raise InvalidCombination for a host or an affinity to one that goes with another tenancy than `host`."""
    if kind != HOST and (asked.host_id or asked.affinity == "host"):
        raise InvalidCombination("HostId and the Affinity host can be used with the Tenancy host only.")


def find(tx: Transaction, caller: Caller, asked: TenancyRequest, kind: InstanceType) -> FoundTenancy:
    """Return the tenancy of new instances of a type, with the Dedicated Hosts that they may be on.

    Raises MalformedId, NotFound, InvalidParameter, InvalidCombination, WrongState for a host that was released, and
    NoCapacity if no host is for the type.
    """
    check(asked)
    if asked.kind != HOST:
        return FoundTenancy(asked.kind, caller.account_id)
    if not asked.host_id:
        hosts = _placing(tx, caller.account_id, kind)
        if not hosts:
            raise _no_host(f"for the type {kind.name}")
        return FoundTenancy(HOST, caller.account_id, tuple(hosts))
    host = target(tx, caller, asked.host_id)
    check_host(host, kind, host.zone)
    return FoundTenancy(HOST, caller.account_id, (host,))


def target(tx: Transaction, caller: Caller, host_id: str) -> DedicatedHost:
    """Return the caller's Dedicated Host that a request names; raises MalformedId, NotFound, WrongState."""
    host = lookup.find(tx, caller, "dedicated-host", DedicatedHost, host_id)
    if host.state != "allocated":
        raise WrongState("dedicated-host", f"The Dedicated Host '{host.id}' is not available: it is {host.state}.")
    return host


def supports(host: DedicatedHost, kind: InstanceType) -> bool:
    """Tell whether a Dedicated Host is for instances of a type; for those with whole cores none is."""
    if kind.whole_cores:
        return False
    if host.instance_type is None:
        return host.instance_family == kind.family
    return host.instance_type == kind.name


def check_host(host: DedicatedHost, kind: InstanceType, zone: str) -> None:
    """Raise InvalidCombination for a Dedicated Host that instances of a type in a zone cannot be on."""
    if not supports(host, kind):
        raise InvalidCombination(f"The Dedicated Host '{host.id}' is not for the type {kind.name}.", code=NO_HOST)
    if host.zone != zone:
        raise InvalidCombination(f"The Dedicated Host '{host.id}' is not in {zone}.", code=NO_HOST)


def check_group(kind: str, group: PlacementGroup | None) -> None:
    """Raise InvalidCombination for a tenancy that instances of a placement group cannot have."""
    if group is None or kind == DEFAULT or (kind == DEDICATED and group.strategy != "spread"):
        return
    raise InvalidCombination(f"Instances of the Tenancy {kind} cannot be in {group.strategy} placement groups.")


def settle_credits(kind: str, type_: InstanceType, asked: str | None) -> str | None:
    """Return the mode of CPU credits that a launch asks for: T3 instances on Dedicated Hosts are never unlimited."""
    if kind != HOST or type_.family != "t3":
        return asked
    if asked == cpu_credits.UNLIMITED:
        raise Unsupported("T3 instances on Dedicated Hosts cannot have unlimited CPU credits.")
    return cpu_credits.STANDARD


def for_start(tx: Transaction, instance: Instance) -> Sequence[Tenancy]:
    """Return the tenancies by which a stopped instance may start, of which the first that can be met is chosen.

    One on Dedicated Hosts starts where it ran last or was meant to, and without affinity to that host on any other with
    auto-placement. Raises NoCapacity if there is none.
    """
    if instance.tenancy == DEFAULT:
        return (SHARED,)
    if instance.tenancy == DEDICATED:
        return (Tenancy(DEDICATED, instance.account_id),)
    kind = instance_types.find(tx, instance.instance_type)
    last = None if instance.dedicated_host_id is None else tx.session.get(DedicatedHost, instance.dedicated_host_id)
    is_bound = instance.host_affinity == "host" and instance.dedicated_host_id is not None
    others = [] if kind is None or is_bound else _placing(tx, instance.account_id, kind)
    options = []
    if kind is not None and last is not None and last.state == "allocated" and supports(last, kind):
        options.append(frozenset((last.id,)))
    there = frozenset(host.id for host in others if host.zone == instance.zone and host is not last)
    if there:
        options.append(there)
    if not options:
        raise _no_host(f"for the instance '{instance.id}'")
    return [Tenancy(HOST, instance.account_id, hosts) for hosts in options]


def _placing(tx: Transaction, account_id: str, kind: InstanceType) -> list[DedicatedHost]:
    """Return an account's Dedicated Hosts with auto-placement that are for a type."""
    query = select(DedicatedHost).where(
        DedicatedHost.account_id == account_id,
        DedicatedHost.state == "allocated",
        DedicatedHost.auto_placement.is_(True),
        or_(
            DedicatedHost.instance_type == kind.name,
            and_(DedicatedHost.instance_type.is_(None), DedicatedHost.instance_family == kind.family),
        ),
    )
    return [host for host in tx.session.scalars(query.order_by(DedicatedHost.id)) if supports(host, kind)]


def _no_host(words: str) -> NoCapacity:
    return NoCapacity(f"There is no available Dedicated Host {words}.", code=NO_HOST)
