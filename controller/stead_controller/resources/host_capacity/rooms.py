"""Read what placement knows of hosts: the best candidates by an index, some, or all.

The index has the hosts of a zone in the order of their free memory, which is the order of placement where no other
preference differs: so few rows are read however many hosts there are, and no copy in memory can be out of date.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import starmap
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Float,
    Integer,
    ScalarSelect,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Host, StoragePool, Volume
from stead_controller.placement.choose_host import choose_host
from stead_controller.placement.need import Need
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search
from stead_controller.placement.tenancy import DEDICATED, OWN, SHARED, Tenancy
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import cores, devices, tenancies, volume_homes

_FIRST: Final = 16
_ALL: Final = 1 << 31

_FREE: Final = StoragePool.total * bindparam("overcommit", type_=Float) - StoragePool.provisioned
_POOL_FREE: Final = select(func.max(_FREE)).where(StoragePool.host_id == Host.id).correlate(Host).scalar_subquery()
_STORE_FREE: Final = (
    select(_FREE)
    .where(StoragePool.host_id == Host.id, StoragePool.is_default.is_(True))
    .limit(1)
    .correlate(Host)
    .scalar_subquery()
)
_HAS_IMAGE: Final = exists().where(Volume.host_id == Host.id, Volume.snapshot_id == bindparam("snapshot_id"))
RACK: Final = func.coalesce(Host.labels["rack"].as_string(), Host.id)
"""The rack of a host: its label of that name; where it has none, the host is a rack of its own."""
# In the order of a Room.
_ROOM: Final = (
    Host.id,
    Host.zone,
    Host.cpus_free,
    Host.memory_free,
    Host.cpus,
    Host.accelerated,
    Host.state,
    Host.schedulable,
    Host.architecture,
    Host.emulates,
    Host.uefi,
    Host.tpm,
    _POOL_FREE.label("pool_free"),
    case((bindparam("instance_store", type_=BigInteger) > 0, _STORE_FREE)).label("store_free"),
    _HAS_IMAGE.label("has_image"),
    RACK.label("rack"),
    func.coalesce(Host.owner_account_id, "").label("owner"),
    func.coalesce(Host.dedicated_host_id, "").label("dedicated_host_id"),
    tenancies.EMPTY.label("empty"),
)
RUNS: Final = or_(Host.architecture == bindparam("own"), Host.emulates.contains(bindparam("emulated")))
"""Whether a host runs guests of an architecture; `running` makes the parameters."""
_NO_ARCHITECTURE: Final = "-"  # no part of any name
# What the filters would refuse as well: reading it only to refuse it costs time.
_LIKELY: Final = (
    Host.state == "up",
    Host.schedulable.is_(True),
    RUNS,
    Host.cpus >= bindparam("vcpus"),
    Host.cpus_free >= bindparam("vcpus"),
    Host.memory_free >= bindparam("memory"),
    Host.uefi >= bindparam("uefi", type_=Boolean),
    Host.tpm >= bindparam("tpm", type_=Boolean),
    tenancies.ALLOWS,
)
_CANDIDATES: Final = (
    select(*_ROOM)
    .where(
        Host.zone == bindparam("zone"),
        Host.accelerated == bindparam("accelerated", type_=Boolean),
        *_LIKELY,
        or_(bindparam("bytes", type_=BigInteger) == 0, volume_homes.HAS_ROOM),
        or_(bindparam("whole_cores", type_=Integer) == 0, bindparam("whole_cores", type_=Integer) <= cores.FREE),
        Host.id.not_in(bindparam("tried", expanding=True)),
    )
    .limit(bindparam("most"))
)
# Both orders are those of the index, forwards and backwards: nothing is sorted.
_EMPTIEST: Final = Prepared(_CANDIDATES.order_by(Host.memory_free.desc(), Host.id.desc()))
_FULLEST: Final = Prepared(_CANDIDATES.order_by(Host.memory_free, Host.id))
_SOME: Final = Prepared(select(*_ROOM).where(Host.id.in_(bindparam("ids", expanding=True))))
_EVERY: Final = Prepared(select(*_ROOM))


def best(tx: Transaction, cloud: Cloud, search: Search, tried: Collection[str] = ()) -> Room | None:
    """Return the host that placement chooses, without those that were `tried`; None if there is none that fits.

    Hosts that an account has for itself are before those that it would get, and hosts that run it by KVM are read
    before those that emulate, of which those go first that have no KVM. Preferences are weighed among the first
    `_FIRST` of each kind; all are read only if the filters refuse each of these.
    """
    tenancy = search.terms.tenancy
    if tenancy.kind == DEDICATED:
        own = replace(search, terms=replace(search.terms, tenancy=replace(tenancy, kind=OWN)))
        chosen = best(tx, cloud, own, tried)
        if chosen is not None:
            return chosen
    if search.near:
        chosen = choose_host(some(tx, cloud, search, search.near.difference(tried)), search)
        if chosen is not None:
            return chosen
    query = _FULLEST if search.packs else _EMPTIEST
    its, none = search.need.architecture, _NO_ARCHITECTURE
    for accelerated, native, emulated in ((True, its, none), (False, its, its), (True, none, its)):
        kind = {"accelerated": accelerated, "own": native, "emulated": emulated}
        for most in (_FIRST, _ALL):
            asked = {**_asked(cloud, search), **kind, "tried": list(tried), "most": most}
            found = query.all(tx.connection, asked)
            chosen = choose_host(_with_parts(tx, starmap(Room, found), search.need), search)
            if chosen is not None:
                return chosen
            if len(found) < most:
                break
    return None


def one(tx: Transaction, cloud: Cloud, search: Search, host_id: str) -> Room:
    """Return one host."""
    (found,) = some(tx, cloud, search, [host_id])
    return found


def some(tx: Transaction, cloud: Cloud, search: Search, ids: Collection[str]) -> list[Room]:
    """Return some hosts, at most some hundreds, sorted by id."""
    found = starmap(Room, _SOME.all(tx.connection, {**_data(cloud, search), "ids": sorted(ids)}))
    return sorted(_with_parts(tx, found, search.need), key=lambda room: room.host_id)


def every(tx: Transaction, cloud: Cloud, search: Search) -> list[Room]:
    """Return all hosts of the cloud, for an explanation."""
    return list(_with_parts(tx, starmap(Room, _EVERY.all(tx.connection, _data(cloud, search))), search.need))


def roomiest(zone: InstrumentedAttribute[str]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Return the free memory of the host in a zone, a column, that has most of those where a need fits, in bytes.

    The first is of hosts that run the guest by KVM, the second of those that emulate, as `best` tries them, and NULL
    where there is one by KVM; each is NULL without a host. They have the parameters of `asked_by`. Each of the three
    queries reads the index from its end, and ends at the first host that fits: otherwise each launch would read all.
    """
    by_kvm = _most_free(zone, Host.accelerated.is_(True), Host.architecture == bindparam("own"))
    without = _most_free(zone, Host.accelerated.is_(False))
    beside = _most_free(zone, Host.accelerated.is_(True), Host.architecture != bindparam("own"))
    return by_kvm, case((by_kvm.is_(None), func.coalesce(without, beside)))


def _most_free(zone: InstrumentedAttribute[str], *of_kind: ColumnElement[bool]) -> ScalarSelect[int]:
    hosts = select(Host.memory_free).where(Host.zone == zone, *of_kind, *_LIKELY)
    return hosts.order_by(Host.memory_free.desc()).limit(1).correlate(zone.class_).scalar_subquery()


def open_zones(tx: Transaction) -> set[str]:
    """Return the zones with hosts that take instances now, whether or not they have room."""
    return set(tx.session.scalars(select(Host.zone).where(Host.state == "up", Host.schedulable.is_(True)).distinct()))


def asked_by(need: Need, tenancy: Tenancy = SHARED) -> dict[str, Any]:
    """Return the parameters of what a need and a tenancy ask of a host."""
    return {
        **running(need.architecture),
        "vcpus": need.vcpus,
        "memory": need.memory,
        "uefi": need.uefi,
        "tpm": need.tpm,
        **tenancies.asked_by(tenancy),
    }


def running(architecture: str) -> dict[str, str]:
    """Return the parameters of `RUNS` for an architecture, by KVM or by emulation."""
    return {"own": architecture, "emulated": architecture}


def _with_parts(tx: Transaction, found: Iterable[Room], need: Need) -> Iterable[Room]:
    """Return rooms with what an instance would have alone of their hosts."""
    return cores.with_cores(tx, devices.with_devices(tx, found, need.devices), need.cores)


def _data(cloud: Cloud, search: Search) -> dict[str, Any]:
    """Return the parameters of the columns of a room."""
    return {
        "overcommit": cloud.volume_overcommit,
        "snapshot_id": search.terms.snapshot_id,
        "instance_store": search.need.instance_store,
    }


def _asked(cloud: Cloud, search: Search) -> dict[str, Any]:
    asked = {**_data(cloud, search), **asked_by(search.need, search.terms.tenancy)}
    asked |= {"zone": search.zone, "bytes": search.disk}
    asked["whole_cores"] = search.need.cores.cores if search.need.cores is not None else 0
    return asked
