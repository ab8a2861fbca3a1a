"""Ends what libvirt has forgotten: the backup of a disk that a guest released while it was going on (libvirt 11.3).

QEMU's job would hold the disk, so that nobody could have it again, and keep QEMU from ending while its home is away.
libvirt names a job `backup-TARGET-NODE`, and its nodes by numbers that a domain's XML has for all that is plugged in.
"""

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from stead_agent.machines.monitor import MonitorError, execute

_log = logging.getLogger(__name__)

_JOB: Final = re.compile(r"backup-.+-libvirt-(\d+)-(?:format|storage)")
_NODE: Final = re.compile(r"libvirt-(\d+)-(?:format|storage)")
_END_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01


def end_lost(domain: Any) -> None:
    """End jobs of backups and remove nodes of a running guest that belong to no disk; no backup may be going on.

    Raises MonitorError when a job does not end, or something else uses a node.
    """
    known = numbers(domain.XMLDesc(0))
    jobs = {number: job_id for job_id in _jobs(domain) if (number := _number(_JOB, job_id)) and number not in known}
    if not jobs and not _unknown(domain, known):
        return
    with contextlib.suppress(MonitorError):  # libvirt has stopped it
        execute(domain, "nbd-server-stop")
    for number, job_id in jobs.items():
        _log.warning("lost_backup_ended", extra={"machine": domain.name(), "job": job_id})
        # A flush that nobody answers any more would stop QEMU's main loop, and with it the guest. Files are not yanked.
        with contextlib.suppress(MonitorError):
            execute(domain, "yank", {"instances": [{"type": "block-node", "node-name": f"libvirt-{number}-storage"}]})
        with contextlib.suppress(MonitorError):  # it has just ended
            execute(domain, "block-job-cancel", {"device": job_id, "force": True})
    deadline = time.monotonic() + _END_SECONDS
    while names := _unknown(domain, known):
        refusals = [why for name in names if (why := _removed(domain, name)) is not None]
        if refusals and time.monotonic() > deadline:
            raise refusals[0]
        time.sleep(_POLL_SECONDS)


def numbers(domain_xml: str) -> frozenset[str]:
    """Return the numbers of all block nodes that a running domain is known to have."""
    sources = ET.fromstring(domain_xml).iterfind("devices/disk//*[@index]")  # noqa: S314 (from libvirt)
    return frozenset(each.get("index", "") for each in sources)


def unknown_nodes(reported: Iterable[Mapping[str, Any]], known: frozenset[str]) -> list[str]:
    """List libvirt's nodes in QEMU whose numbers are not known."""
    names = [str(each.get("node-name", "")) for each in reported]
    return sorted(name for name in names if (number := _number(_NODE, name)) and number not in known)


def _number(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.fullmatch(name)
    return found[1] if found else ""


def _jobs(domain: Any) -> list[str]:
    return [str(each["id"]) for each in execute(domain, "query-jobs")]


def _unknown(domain: Any, known: frozenset[str]) -> list[str]:
    return unknown_nodes(execute(domain, "query-named-block-nodes", {"flat": True}), known)


def _removed(domain: Any, name: str) -> MonitorError | None:
    """Remove a node; return why QEMU refused that, as for one that another node, or a job that ends now, still uses."""
    try:
        execute(domain, "blockdev-del", {"node-name": name})
    except MonitorError as error:
        return error
    return None
