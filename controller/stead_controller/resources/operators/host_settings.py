"""What operators set for a host: its zone, labels, overcommit and the memory for itself, in force at once."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from stead_controller.db.tables import Host
from stead_controller.errors import InUse, InvalidParameter, LimitExceeded
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import offer
from stead_controller.resources.operators import host_uses

_MOST_LABELS: Final = 50
_KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?)?")
_MOST_CPUS: Final = 64.0
_MOST_MEMORY: Final = 4.0


@dataclass(frozen=True, slots=True)
class HostChange:
    """What to set; None leaves it, and of the numbers 0 means what the controller's settings say.

    `reserve_memory` is in bytes.
    """

    zone: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    removed_labels: Collection[str] = ()
    overcommit_cpus: float | None = None
    overcommit_memory: float | None = None
    reserve_memory: int | None = None


def change(tx: Transaction, cloud: Cloud, host: Host, asked: HostChange) -> None:
    """Change a host's settings; raises InvalidParameter, LimitExceeded, InUse.

    A volume's zone never changes, so the zone of a host changes only with nothing on it.
    """
    _check_ratio("overcommit of CPUs", asked.overcommit_cpus, _MOST_CPUS)
    _check_ratio("overcommit of memory", asked.overcommit_memory, _MOST_MEMORY)
    labels = _labels(host, asked)
    if asked.zone not in (None, host.zone):
        _move(tx, cloud, host, asked.zone)
    host.labels = labels
    if asked.overcommit_cpus is not None:
        host.overcommit_cpus = asked.overcommit_cpus or None
    if asked.overcommit_memory is not None:
        host.overcommit_memory = asked.overcommit_memory or None
    if asked.reserve_memory is not None:
        _check_reserve(host, asked.reserve_memory)
        host.reserve_memory = asked.reserve_memory or None
    offer.renew(host, cloud)


def _check_ratio(name: str, ratio: float | None, most: float) -> None:
    if ratio is None or ratio == 0:
        return
    if not 0.1 <= ratio <= most:  # NaN is not, either
        raise InvalidParameter(f"The {name} is between 0.1 and {most:g}, or 0 for the default: not {ratio}.")


def _check_reserve(host: Host, reserve: int) -> None:
    if host.memory and reserve >= host.memory:
        has, kept = host.memory >> 20, reserve >> 20  # MiB, as they are given
        raise InvalidParameter(f"{host.id} has {has} MiB of memory: {kept} MiB cannot be left for itself.")


def _labels(host: Host, asked: HostChange) -> dict[str, str]:
    for key, value in asked.labels.items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise InvalidParameter(
                f"'{key}={value}' is no label: keys and values have at most 63 letters, digits and '._/-', and begin "
                "and end with a letter or digit; a value may be empty."
            )
    labels = {key: value for key, value in host.labels.items() if key not in asked.removed_labels}
    labels.update(asked.labels)
    if len(labels) > _MOST_LABELS:
        raise LimitExceeded(f"A host has at most {_MOST_LABELS} labels.")
    return labels


def _move(tx: Transaction, cloud: Cloud, host: Host, zone: str) -> None:
    """Set the zone of a host on which nothing is."""
    if zone not in cloud.zones:
        raise InvalidParameter(f"'{zone}' is no zone of this cloud: {', '.join(cloud.zones)}")
    for use in host_uses.uses_of(tx, host.id, 1):
        raise InUse(
            f"{host.id} has the {use.kind} {use.resource_id}, which stays in {host.zone}: a host changes its zone only "
            "with nothing on it."
        )
    host.zone = zone
