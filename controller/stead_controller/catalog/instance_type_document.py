"""Reads instance types from documents: a family with its sizes, as the files of `families/` have them.

All that is wrong is refused with the place where it stands: an unknown key, a wrong kind of value, figures that
contradict each other.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stead_controller.catalog.instance_type import Credits, DeviceCount, EbsLimit, Gpus, InstanceStore, InstanceType

_MIB: Final = 1024 * 1024
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,20}\Z")
_SIZE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,8}\Z")
_MODEL: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}\Z")
_LEAST_IOPS: Final = 100  # so that each of so many volumes as an instance may have gets some
_MOST_DEVICES: Final = 16  # of a model, as many as the largest of EC2's types have of GPUs
MOST: Final = 1 << 31
"""More than any figure of a type may be."""


class BadDocumentError(ValueError):
    """A document that describes no instance type; the message names the place."""


class _Table:
    """A table of a document, read key by key; what nobody read is refused at the end."""

    def __init__(self, where: str, table: object) -> None:
        if not isinstance(table, Mapping):
            raise BadDocumentError(f"{where}: must be a table")
        self.where = where
        self._left = dict(table)

    def _take(self, key: str, kind: type | tuple[type, ...], words: str, default: Any) -> Any:  # of any of the kinds
        if key not in self._left:
            if default is ...:
                raise BadDocumentError(f"{self.where}: {key} is missing")
            return default
        value = self._left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadDocumentError(f"{self.where}: {key} must be {words}, not {value!r}")
        return value

    def unread(self) -> list[str]:
        """Return the keys that nobody has read yet, sorted."""
        return sorted(self._left)

    def whole(self, key: str, least: int = 1, default: Any = ..., *, most: int = MOST - 1) -> int:  # None or a number
        """Take a whole number from `least` to `most`."""
        value: int = self._take(key, int, "a whole number", default)
        if not least <= value <= most:
            raise BadDocumentError(f"{self.where}: {key} must be from {least} to {most}, not {value}")
        return value

    def number(self, key: str, default: Any = ...) -> float | None:  # None or a number
        """Take a positive number."""
        value: float | None = self._take(key, (int, float), "a number", default)
        if value is not None and not 0 < value < MOST:
            raise BadDocumentError(f"{self.where}: {key} must be more than 0 and less than {MOST}, not {value}")
        return value

    def text(self, key: str, among: Sequence[str] = (), default: Any = ...) -> str:  # as a text
        """Take a text, one of `among` if these are given."""
        value: str = self._take(key, str, "a text", default)
        if among and value not in among:
            raise BadDocumentError(f"{self.where}: {key} must be one of {', '.join(among)}, not {value!r}")
        return value

    def flag(self, key: str, *, default: Any = ...) -> bool:  # a flag
        """Take true or false."""
        value: bool = self._take(key, bool, "true or false", default)
        return value

    def table(self, key: str) -> "_Table | None":
        """Take a table in it, if there is one."""
        value = self._take(key, Mapping, "a table", None)
        return None if value is None else _Table(f"{self.where}: {key}", value)

    def tables(self, key: str) -> dict[str, "_Table"]:
        """Take a table of tables."""
        found = self._take(key, Mapping, "a table", ...)
        return {name: _Table(f"{self.where}: {key}.{name}", one) for name, one in found.items()}

    def end(self) -> None:
        """Refuse keys that nobody read."""
        if self._left:
            raise BadDocumentError(f"{self.where}: unknown key {min(self._left)}")


def read_family(where: str, document: Mapping[str, Any]) -> list[InstanceType]:
    """Read a family's types in the order of the document; raises BadDocumentError."""
    table = _Table(where, document)
    family = table.text("family")
    if not _NAME.match(family):
        raise BadDocumentError(f"{where}: family must be lower-case letters and digits, not {family!r}")
    shared: dict[str, Any] = {
        "manufacturer": table.text("manufacturer"),
        "architecture": table.text("architecture", ("x86_64", "arm64")),
        "threads_per_core": table.whole("threads_per_core"),
        "current_generation": table.flag("current_generation"),
        "ebs_optimized": table.text("ebs_optimized", ("unsupported", "default")),
    }
    clock_speed = table.number("clock_speed_ghz", None)
    sizes = table.tables("sizes")
    table.end()
    if not sizes:
        raise BadDocumentError(f"{where}: a family needs at least one size")
    return [_size(f"{family}.{name}", name, size, shared, clock_speed) for name, size in sizes.items()]


def _size(name: str, size: str, table: _Table, shared: dict[str, Any], clock_speed: float | None) -> InstanceType:
    if not _SIZE.match(size):
        raise BadDocumentError(f"{table.where}: a size is at most nine lower-case letters and digits")
    vcpus = table.whole("vcpus")
    threads = shared["threads_per_core"]
    if vcpus % threads:
        raise BadDocumentError(f"{table.where}: {vcpus} vcpus are no cores of {threads} threads")
    baseline, burst = _pair(table, "network_mbps", "burst") or (0, 0)
    if not burst:
        raise BadDocumentError(f"{table.where}: network_mbps is missing")
    gpus, devices = _devices(table)
    made = InstanceType(
        name=name,
        vcpus=vcpus,
        memory=table.whole("memory_mib") * _MIB,
        valid_cores=_valid_cores(table, vcpus // threads),
        max_interfaces=table.whole("interfaces"),
        max_addresses=table.whole("addresses"),
        network_performance=table.text("network_performance", default=_performance(baseline, burst)),
        network_baseline_mbps=baseline,
        network_burst_mbps=burst,
        clock_speed=table.number("clock_speed_ghz", clock_speed),
        free_tier=table.flag("free_tier", default=False),
        ebs=_ebs(table, shared["ebs_optimized"]),
        instance_store=_instance_store(table.table("instance_store")),
        credits=_credits(table.table("credits")),
        gpus=gpus,
        devices=devices,
        whole_cores=table.flag("whole_cores", default=False),
        huge_pages=table.flag("huge_pages", default=False),
        **shared,
    )
    table.end()
    _check_whole_cores(table, made)
    return made


def _check_whole_cores(table: _Table, made: InstanceType) -> None:
    """Refuse what cannot be promised together."""
    if made.whole_cores and made.burstable:
        raise BadDocumentError(f"{table.where}: with cores of its own an instance has no use for CPU credits")
    if made.huge_pages and not made.whole_cores:
        raise BadDocumentError(f"{table.where}: huge pages are for types with whole cores")
    if made.huge_pages and made.memory_mib % 2:
        raise BadDocumentError(f"{table.where}: {made.memory_mib} MiB are no whole pages of 2 MiB")


def _performance(baseline: int, burst: int) -> str:
    """Write bandwidth as EC2 does."""
    return f"{'Up to ' if baseline < burst else ''}{burst / 1000:g} Gigabit"


def _valid_cores(table: _Table, cores: int) -> tuple[int, ...]:
    """Read which numbers of cores an instance may have: from `least` in steps to all, or each if nothing is said."""
    found = table.table("valid_cores")
    if found is None:
        return tuple(range(1, cores + 1))
    least, step = found.whole("least"), found.whole("step")
    found.end()
    if least > cores or (cores - least) % step:
        raise BadDocumentError(f"{found.where}: steps of {step} from {least} do not reach {cores} cores")
    return tuple(range(least, cores + 1, step))


def _pair(table: _Table, key: str, most: str, *, least: int = 1) -> tuple[int, int] | None:
    """Read a baseline, and the figure that is reached for some time."""
    found = table.table(key)
    if found is None:
        return None
    baseline, largest = found.whole("baseline", least), found.whole(most)
    found.end()
    if baseline > largest:
        raise BadDocumentError(f"{found.where}: the baseline {baseline} is more than {most}, {largest}")
    return baseline, largest


def _ebs(table: _Table, ebs_optimized: str) -> EbsLimit | None:
    """Read what all volumes together may do; a type that always is EBS-optimized says it, and no other does."""
    mbps = _pair(table, "ebs_mbps", "max")
    iops = _pair(table, "ebs_iops", "max", least=_LEAST_IOPS)
    if (mbps is None) is not (iops is None):
        raise BadDocumentError(f"{table.where}: ebs_mbps and ebs_iops belong together")
    if (ebs_optimized == "default") is (mbps is None):
        raise BadDocumentError(f"{table.where}: ebs_mbps is for types that are EBS-optimized by default, and for all")
    return EbsLimit(*mbps, *iops) if mbps is not None and iops is not None else None


def _instance_store(table: _Table | None) -> InstanceStore | None:
    if table is None:
        return None
    made = InstanceStore(
        table.whole("count"),
        table.whole("size_gb"),
        table.text("medium", ("ssd", "hdd")),
        table.flag("only_if_mapped", default=False),
    )
    table.end()
    return made


def _credits(table: _Table | None) -> Credits | None:
    if table is None:
        return None
    per_hour, most = table.number("per_hour"), table.number("max")
    baseline = table.number("baseline_percent")
    table.end()
    return Credits(per_hour or 0, most or 0, baseline or 0)


def _devices(table: _Table) -> tuple[Gpus | None, tuple[DeviceCount, ...]]:
    """Read GPUs, with the model of PCI device that they are, or how many devices of other models there are."""
    found = table.table("gpus")
    if found is not None:
        count = found.whole("count", most=_MOST_DEVICES)
        gpus = Gpus(count, found.text("name"), found.text("manufacturer"), found.whole("memory_mib"))
        devices = (DeviceCount(_model(found.where, found.text("device")), count),)
        found.end()
        return gpus, devices
    others = table.table("devices")
    if others is None:
        return None, ()
    return None, tuple(
        DeviceCount(_model(others.where, model), others.whole(model, most=_MOST_DEVICES)) for model in others.unread()
    )


def _model(where: str, text: str) -> str:
    if not _MODEL.match(text):
        raise BadDocumentError(f"{where}: a device is vendor:device, such as 10de:1eb8, not {text!r}")
    return text
