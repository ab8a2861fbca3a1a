"""Check and parse a lifecycle policy: targets, when to snapshot, how many to retain. Pure.

See https://docs.aws.amazon.com/dlm/latest/APIReference/API_PolicyDetails.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.storage import cron_expressions

TYPE: Final = "EBS_SNAPSHOT_MANAGEMENT"
_INTERVALS: Final = (1, 2, 3, 4, 6, 8, 12, 24)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")
_DEFAULT_TIME: Final = "09:00"
_MOST_SCHEDULES: Final = 4
_MAX_COUNT: Final = 1000
_MOST_DAYS: Final = 36_500
_DAYS: Final = {"DAYS": 1, "WEEKS": 7, "MONTHS": 30, "YEARS": 365}
_UNBUILT_RULES: Final = (
    "FastRestoreRule",
    "CrossRegionCopyRules",
    "ShareRules",
    "DeprecateRule",
    "ArchiveRule",
    "VariableTags",
)
_UNBUILT_DETAILS: Final = (
    "EventSource",
    "Actions",
    "ResourceType",
    "CreateInterval",
    "RetainInterval",
    "CrossRegionCopyTargets",
    "Exclusions",
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to snapshot, with which tags, and how many snapshots of each volume to retain, or for how long."""

    name: str
    interval_hours: int = 0
    start_minute: int = 0  # of the day
    cron: str = ""
    keep_count: int | None = None
    keep_days: int | None = None
    copy_tags: bool = False
    tags: tuple[tuple[str, str], ...] = ()

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after a moment; None when there is none any more."""
        if self.cron:
            return cron_expressions.parse(self.cron).next_after(moment)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        every = timedelta(hours=self.interval_hours)
        first = midnight + timedelta(minutes=self.start_minute) - timedelta(days=1)
        passed = (moment - first) // every
        return first + (passed + 1) * every


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy's targets and schedules; a resource with any of the tags in `targets` is a target."""

    of_instances: bool
    targets: tuple[tuple[str, str], ...]
    schedules: tuple[Schedule, ...]
    exclude_boot_volume: bool = False


def read(details: Mapping[str, Any]) -> Rules:
    """Read PolicyDetails; raises InvalidParameter, MissingParameter, Unsupported for what is not built."""
    if details.get("PolicyType", TYPE) != TYPE or details.get("PolicyLanguage", "STANDARD") != "STANDARD":
        raise Unsupported(f"Only policies of the type {TYPE} with schedules of their own are supported.")
    for name in _UNBUILT_DETAILS:
        if details.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    if details.get("ResourceLocations", ["CLOUD"]) != ["CLOUD"]:
        raise Unsupported("Snapshots are kept in the region: ResourceLocations can be CLOUD alone.")
    kinds = details.get("ResourceTypes", [])
    if len(kinds) != 1 or kinds[0] not in ("VOLUME", "INSTANCE"):
        raise InvalidParameter("ResourceTypes must be one of VOLUME and INSTANCE.")
    targets = _tags(details.get("TargetTags", ()))
    if not targets:
        raise MissingParameter("TargetTags")
    schedules = [_schedule(given, number) for number, given in enumerate(details.get("Schedules", ()), 1)]
    if not 1 <= len(schedules) <= _MOST_SCHEDULES:
        raise InvalidParameter(f"A policy must have 1 to {_MOST_SCHEDULES} schedules.")
    if len({schedule.name for schedule in schedules}) != len(schedules):
        raise InvalidParameter("The schedules of a policy must have different names.")
    parameters = details.get("Parameters", {})
    if parameters.get("NoReboot") is not None or parameters.get("ExcludeDataVolumeTags"):
        raise Unsupported("Of the parameters only ExcludeBootVolume is supported.")
    boot = bool(parameters.get("ExcludeBootVolume", False))
    if boot and kinds[0] == "VOLUME":
        raise InvalidParameter("ExcludeBootVolume is for policies of instances.")
    return Rules(kinds[0] == "INSTANCE", targets, tuple(schedules), exclude_boot_volume=boot)


def _schedule(given: Mapping[str, Any], number: int) -> Schedule:
    for name in _UNBUILT_RULES:
        if given.get(name):
            raise Unsupported(f"The parameter {name} of schedules is not supported.")
    name = given.get("Name") or f"Schedule {number}"
    interval, start, cron = _when(given.get("CreateRule", {}))
    keep_count, keep_days = _how_many(given.get("RetainRule", {}))
    return Schedule(
        name=name,
        interval_hours=interval,
        start_minute=start,
        cron=cron,
        keep_count=keep_count,
        keep_days=keep_days,
        copy_tags=bool(given.get("CopyTags", False)),
        tags=_tags(given.get("TagsToAdd", ())),
    )


def _when(rule: Mapping[str, Any]) -> tuple[int, int, str]:
    """Return the hours between snapshots and the minute of the day, or a cron expression."""
    if rule.get("Scripts") or rule.get("Location", "CLOUD") != "CLOUD":
        raise Unsupported("Scripts and other locations than CLOUD are not supported.")
    cron, interval = rule.get("CronExpression", ""), rule.get("Interval")
    if bool(cron) == (interval is not None):
        raise InvalidParameter("CreateRule must have either Interval or CronExpression.")
    if cron:
        cron_expressions.parse(cron)
        return 0, 0, cron
    if interval not in _INTERVALS or rule.get("IntervalUnit", "HOURS") != "HOURS":
        raise InvalidParameter(f"Interval must be one of {', '.join(map(str, _INTERVALS))} HOURS.")
    times = rule.get("Times") or [_DEFAULT_TIME]
    found = _TIME.match(times[0]) if len(times) == 1 else None
    if found is None:
        raise InvalidParameter("Times must be one time of the day: hh:mm.")
    return interval, int(found[1]) * 60 + int(found[2]), ""


def _how_many(rule: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return how many snapshots of a volume are retained, or for how many days."""
    count: int | None = rule.get("Count")
    interval: int = rule.get("Interval", 0)
    if (count is None) == ("Interval" not in rule):
        raise InvalidParameter("RetainRule must have either Count or Interval.")
    if count is not None:
        if not 1 <= count <= _MAX_COUNT:
            raise InvalidParameter(f"Count must be from 1 to {_MAX_COUNT}.")
        return count, None
    unit = rule.get("IntervalUnit", "")
    if unit not in _DAYS or not 1 <= interval * _DAYS[unit] <= _MOST_DAYS:
        raise InvalidParameter("Interval and IntervalUnit must be from 1 DAYS to 100 YEARS.")
    return None, interval * _DAYS[unit]


def _tags(given: Any) -> tuple[tuple[str, str], ...]:
    found = []
    for tag in given:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidParameter(f"'{key}' is no tag key, or its value is too long.")
        found.append((key, value))
    return tuple(found)
