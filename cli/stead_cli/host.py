"""`stead host`: the machines on which instances run."""

import datetime as dt
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from stead_cli import drain_progress, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, json_or, output_option, say, show_json, show_rows
from stead_proto.v1 import operator_pb2 as pb


@click.group()
def host() -> None:
    """See, enrol, set, cordon, drain and remove hosts."""


def row_of(found: pb.Host) -> dict[str, Any]:
    """A host as a row of a table."""
    return {
        "host_id": found.id,
        "hostname": found.hostname,
        "state": found.state,
        "zone": found.zone,
        "schedulable": found.schedulable,
        "instances": found.instances,
        "threads": found.cpus,
        **_processors(found),
        "vcpus": f"{found.cpus_reserved} of {found.cpus_offered}",
        "memory": f"{bytes_text(found.memory_reserved)} of {bytes_text(found.memory_offered)}",
        "memory_total": found.memory,
        "labels": dict(sorted(found.labels.items())),
        "overcommit_cpus": found.overcommit_cpus,
        "overcommit_memory": found.overcommit_memory,
        "reserve_memory": found.reserve_memory,
        "emulation_memory": found.emulation_memory,
        "disk": "; ".join(_disk(pool) for pool in found.pools),
        "virtualization": found.virtualization,
        "virtualization_reason": found.virtualization_reason,
        "architectures": _architectures(found),
        "firmware": _firmware(found),
        "simulated": found.simulated,
        "last_seen": _time(found.last_seen) if found.last_seen else None,
        "certificate_ends": _time(found.certificate_ends) if found.certificate_ends else None,
        "joins_until": _time(found.joins_until) if found.joins_until else None,
        "revision": found.revision,
        "revision_reached": found.revision_reached,
        "agent_version": found.agent_version,
        "pools": [
            {
                "name": pool.name,
                "backend": pool.backend,
                "total": pool.total,
                "free": pool.free,
                "promised": pool.promised,
                "volume_types": list(pool.volume_types),
                "is_default": pool.is_default,
            }
            for pool in found.pools
        ],
        "uses": [_use(use) for use in found.uses],
        "devices": [_device(device) for device in found.devices],
        "whole_cores": [_core(core) for core in found.whole_cores],
        "error_count": found.error_count,
        "errors": [
            {"kind": each.kind, "id": each.id, "since": _time(each.since), "error": each.error} for each in found.errors
        ],
        "unclaimed_count": found.unclaimed_count,
        "unclaimed": [{"kind": each.kind, "id": each.id, "since": _time(each.since)} for each in found.unclaimed],
    }


def _device(device: pb.HostDevice) -> dict[str, Any]:
    return {
        "address": device.address,
        "model": device.model,
        "class": f"{device.class_code:06x}",
        "iommu_group": device.iommu_group,
        "driver": device.driver,
        "numa_node": device.numa_node,
        "reset": device.reset,
        "refusal": device.refusal,
        "instance_id": device.instance_id or None,
    }


def _core(core: pb.HostCore) -> dict[str, Any]:
    return {
        "number": core.number,
        "numa_node": core.numa_node,
        "threads": list(core.threads),
        "gone": core.gone,
        "instance_id": core.instance_id or None,
        "huge_pages": core.huge_pages,
    }


def _use(use: pb.HostUse) -> dict[str, Any]:
    percent = use.percent if use.HasField("percent") else None
    return {"kind": use.kind, "id": use.id, "state": use.state, "note": use.note, "percent": percent}


def _processors(found: pb.Host) -> dict[str, Any]:
    nodes = [
        {"number": node.number, "threads": node.threads, "memory": node.memory, "huge_pages": node.huge_pages}
        for node in found.numa_nodes
    ]
    return {
        "cores": found.cores or None,
        "cpu_model": found.cpu_model,
        "cpu_features": list(found.cpu_features),
        "numa_nodes": nodes,
        "kvm_proven": found.virtualization == "kvm",
    }


def _architectures(found: pb.Host) -> dict[str, str]:
    """Name the architectures of guests that the host runs, each with `kvm` or `emulation`."""
    own = {found.architecture: "kvm" if found.virtualization == "kvm" else "emulation"} if found.architecture else {}
    return own | dict.fromkeys(found.emulates, "emulation")


def _firmware(found: pb.Host) -> str:
    """Name what the host's guests may boot by, and whether they may have a TPM."""
    parts = {"BIOS": True, "UEFI": found.uefi, "TPM": found.tpm}
    return ", ".join(name for name, has in parts.items() if has)


def _disk(pool: pb.HostPool) -> str:
    """Describe a pool: bytes allocated, total and free; the default pool needs no name."""
    name = "" if pool.is_default else f"{pool.name} "
    return f"{name}{bytes_text(pool.promised)} of {bytes_text(pool.total)}, {bytes_text(pool.free)} free"


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()


def failings(row: Mapping[str, Any]) -> list[str]:
    """Describe a host's failures, from its table row: a line each, the oldest first, and how many more there are."""
    lines = [f"{_subject(it)}: {it['error']}" for it in row["errors"]]
    more = row["error_count"] - len(row["errors"])
    return lines + ([f"and {more} more"] if more else [])


def unclaimed(row: Mapping[str, Any]) -> list[str]:
    """Describe what a host has and the database does not know, from its table row: as `failings` does."""
    more = row["unclaimed_count"] - len(row["unclaimed"])
    rest = f"and {more} more: stead host show {row['host_id']} --output json"
    return [_subject(it) for it in row["unclaimed"]] + ([rest] if more else [])


def _subject(found: Mapping[str, Any]) -> str:
    return f"{found['kind'].replace('_', ' ')} {found['id']} since {found['since']}"


def show_hosts(rows: Sequence[Mapping[str, Any]], output: str, *, empty: str = "") -> None:
    """Print hosts, and their failures below."""
    show_rows(rows, COLUMNS, output, empty=empty)
    for row in rows if output != "json" else ():
        lines = failings(row)
        if lines:
            say(f"{row['hostname']} ({row['host_id']}) fails at this, and tries again by itself:")
        for line in lines:
            say(f"  {line}")
        kept = unclaimed(row)
        if kept:
            say(f"{row['hostname']} ({row['host_id']}) has this, which the database, an older copy, does not know:")
        for line in kept:
            say(f"  {line}")
        if kept:
            say("  It stays until it is adopted or removed (`stead unclaimed list`), or a newer database is put back.")


COLUMNS = (
    "host_id",
    "hostname",
    "state",
    "zone",
    "instances",
    "threads",
    "vcpus",
    "memory",
    "disk",
    "virtualization",
    "firmware",
)


@host.command("list")
@output_option
def list_hosts(output: str) -> None:
    """List the hosts with their room, and what they fail at."""
    rows = [row_of(found) for found in Operator(settings.load()).list_hosts()]
    show_hosts(rows, output, empty="no hosts; `stead host token` makes a token with which one can enrol")


@host.command()
@click.option("--zone", default="", help="Zone of the host; default: the first.")
@click.option("--host", "host_id", default="", help="For this host alone, which is down: it joins again as it was.")
@click.option(
    "--any-authority", is_flag=True, help="With --host: its certificate may be of a CA that was lost by a restore."
)
@click.option("--valid-seconds", default=3600, show_default=True, help="How long the token may be used.")
@output_option
def token(*, zone: str, host_id: str, any_authority: bool, valid_seconds: int, output: str) -> None:
    """Make a one-time token with which a machine enrols as a host.

    With --host it is for a host whose certificate is not accepted any more, such as one that was off for more than
    a year. That joins by `stead join --again`, and keeps all that it has; the key of its certificate must be there.
    With --any-authority the token alone decides, and whoever has it can take the host's place.
    """
    if any_authority and not host_id:
        raise CliError("--any-authority goes with --host")
    chosen = settings.load()
    made = Operator(chosen).create_token(zone, valid_seconds, host_id=host_id, any_authority=any_authority)
    expires = _time(made.expires)

    def lines() -> None:
        click.echo(made.token)
        if host_id:
            say(f"On {host_id}, with {chosen.ca_file} copied there as ca.pem, before {expires}:")
            say("  stead join THIS-MACHINE --ca ca.pem --token-file FILE --again")
            return
        say(f"On the new host, with {chosen.ca_file} copied there as ca.pem, before {expires}:")
        say(f"  stead-agent enrol --controller THIS-MACHINE:{chosen.enrolment_port} --ca ca.pem --token-file -")

    found = {"token": made.token, "expires": expires, "ca_pem": made.ca_pem.decode(), "host_id": host_id or None}
    json_or(output, found, lines)


@host.command()
@click.argument("host_id")
@output_option
def show(host_id: str, output: str) -> None:
    """Show all that is known of a host, and what is on it."""
    _show_one(Operator(settings.load()).show_host(host_id), output)


@host.command("set")
@click.argument("host_id")
@click.option("--zone", help="Only with nothing on the host: a volume's zone never changes.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label; may be repeated.")
@click.option("--remove-label", "removed", multiple=True, metavar="KEY", help="May be repeated.")
@click.option("--overcommit-cpus", type=float, help="vCPUs offered per hardware thread; 0: as the controller is set.")
@click.option("--overcommit-memory", type=float, help="Bytes offered per byte of memory; 0: one.")
@click.option("--reserve-memory", type=click.IntRange(min=0), metavar="MIB", help="For itself; 0: as set there.")
@output_option
def set_host(
    host_id: str,
    *,
    zone: str | None,
    labels: Sequence[str],
    removed: Sequence[str],
    overcommit_cpus: float | None,
    overcommit_memory: float | None,
    reserve_memory: int | None,
    output: str,
) -> None:
    """Set a host's zone, labels and what it offers; the next instance is placed by it."""
    request = pb.SetHostRequest(
        host_id=host_id,
        zone=zone,
        labels=dict(_label(text) for text in labels),
        removed_labels=removed,
        overcommit_cpus=overcommit_cpus,
        overcommit_memory=overcommit_memory,
        reserve_memory=None if reserve_memory is None else reserve_memory << 20,
    )
    _show_one(Operator(settings.load()).set_host(request), output)


def _label(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise CliError(f"--label must be KEY=VALUE, not {text!r}")
    return key, value


@host.command()
@click.argument("host_id")
@output_option
def cordon(host_id: str, output: str) -> None:
    """Place nothing new on a host; what it has stays."""
    _show_one(Operator(settings.load()).set_schedulable(host_id, schedulable=False), output)


@host.command()
@click.argument("host_id")
@output_option
def uncordon(host_id: str, output: str) -> None:
    """Place new instances on a host again, and end its draining."""
    _show_one(Operator(settings.load()).set_schedulable(host_id, schedulable=True), output)


@host.command()
@click.argument("host_id")
@click.option("--stop", is_flag=True, help="Shut its guests down, and start them on other hosts that can have them.")
@click.option(
    "--wait/--no-wait", default=None, help="Wait until nothing can leave it any more; default: on a terminal."
)
@click.option("--at", metavar="TIME", help="With --stop: when, such as 2027-01-31T22:00 (UTC). Users see it.")
@click.option("--latest", metavar="TIME", help="With --at: until when users may choose another time.")
@output_option
def drain(host_id: str, *, stop: bool, at: str | None, latest: str | None, wait: bool | None, output: str) -> None:
    """Cordon a host that is to become empty, and show what is on it.

    Volumes that nobody uses, and stopped instances, move to other hosts of its zone. Its state is `draining` until
    nothing is on it, then `drained`. What stays is named with the reason; ask again when that is gone. With a time, its
    instances have a scheduled event until then, which `uncordon` cancels.
    """
    if (at and not stop) or (latest and not at):
        raise CliError("--at goes with --stop, and --latest with --at")
    operator = Operator(settings.load())
    found = operator.drain_host(host_id, stop=stop, at=_seconds(at), latest=_seconds(latest))
    if wait or (wait is None and output != "json" and sys.stderr.isatty()):
        found = drain_progress.follow(operator, found)
    _show_one(found, output)


def _seconds(text: str | None) -> int:
    """Return a time of a zone, or of UTC where none is named, in Unix seconds; 0 where there is none."""
    if text is None:
        return 0
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise CliError(f"{text!r} is no time such as 2027-01-31T22:00") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def _show_one(found: pb.Host, output: str) -> None:
    """Print a host, its settings and what is on it."""
    row = row_of(found)
    if output == "json":
        show_json(row)
        return
    show_hosts([row], output)
    for line in _hardware(found):
        say(line)
    say(f"labels: {', '.join(f'{key}={value}' for key, value in row['labels'].items()) or 'none'}")
    say(
        f"offers {found.overcommit_cpus:g} vCPUs per thread and {found.overcommit_memory:g} bytes per byte of memory, "
        f"and keeps {bytes_text(found.reserve_memory)} for itself{_emulation(found)}"
    )
    for line in _certificate(found, int(time.time())):
        say(line)
    for use in row["uses"]:
        say(f"has the {use['kind']} {use['id']} ({use['state']}){_note(use)}")
    for device in row["devices"]:
        say(f"device {device['address']} ({device['model']}): {_who_has(device)}")
    for line in _whole_cores(found):
        say(line)


def _certificate(found: pb.Host, now: int) -> list[str]:
    """Say of a host until when its certificate is valid, and whether it is about to join again."""
    lines = []
    if found.certificate_ends > now:
        lines.append(f"its certificate is valid until {_time(found.certificate_ends)}")
    elif found.certificate_ends:
        lines.append(
            f"its certificate has expired on {_time(found.certificate_ends)}: stead host token --host {found.id}, "
            "and there: stead join --again"
        )
    if found.joins_until > now:
        lines.append(f"there is a token with which it joins again until {_time(found.joins_until)}")
    return lines


def _emulation(found: pb.Host) -> str:
    return f", {bytes_text(found.emulation_memory)} for emulation" if found.emulation_memory else ""


def _whole_cores(found: pb.Host) -> list[str]:
    """Say of each core that is set apart which instance has it, and of huge pages how many are free."""
    lines = []
    for core in found.whole_cores:
        threads = ", ".join(map(str, core.threads))
        holder = f"{core.instance_id} has it" if core.instance_id else "free"
        kept = ", and it is no longer set apart" if core.gone else ""
        lines.append(f"core of the threads {threads} in memory node {core.numa_node}: {holder}{kept}")
    for node in found.numa_nodes:
        taken = sum(core.huge_pages for core in found.whole_cores if core.numa_node == node.number)
        if node.huge_pages:
            lines.append(
                f"memory node {node.number}: {node.huge_pages - taken} of {node.huge_pages} huge pages are free"
            )
    return lines


def _note(use: Mapping[str, Any]) -> str:
    """Say how far something is on its way from a host that is drained, or why it stays."""
    if not use["note"]:
        return ""
    return f": {use['note']}" if use["percent"] is None else f": {use['note']}, {use['percent']} %"


def _who_has(device: Mapping[str, Any]) -> str:
    """Say which instance has a device, or why none can have it."""
    if device["instance_id"]:
        return f"{device['instance_id']} has it"
    return device["refusal"] or f"free, in IOMMU group {device['iommu_group']}"


def _hardware(found: pb.Host) -> list[str]:
    """Say what a host's processors and memory nodes are, and whether a guest has proven that KVM works."""
    if found.virtualization == "kvm":
        kvm = "KVM: proven by a guest that booted with it"
    else:
        kvm = f"KVM: not proven, guests are emulated ({found.virtualization_reason or 'no reason is known'})"
    how = ", ".join(f"{name} by {'KVM' if by == 'kvm' else by}" for name, by in _architectures(found).items())
    lines = [
        f"guests: {how or 'not known'}",
        f"processors: {found.cpu_model or 'not known'}, {found.cores or '?'} cores, {found.cpus} threads",
        kvm,
    ]
    return lines + [
        f"memory node {node.number}: {bytes_text(node.memory)}, threads {node.threads}" for node in found.numa_nodes
    ]


@host.command()
@click.argument("host_id")
@click.option("--lost", is_flag=True, help="It is off for good: the instances and volumes on it end with it.")
def remove(host_id: str, *, lost: bool) -> None:
    """Remove a host on which nothing is, or one that is down and lost.

    Volumes of a lost host in a pool of Ceph that other hosts have, too, get a new home.
    """
    Operator(settings.load()).remove_host(host_id, lost=lost)
    say(f"{host_id} is removed")


@host.command()
@click.argument("host_id")
@click.argument("ids", nargs=-1, required=True)
def discard(host_id: str, ids: tuple[str, ...]) -> None:
    """Remove from a host what it has and the database does not know.

    After an older copy of the database was put back, `stead unclaimed list` names such instances, volumes and networks:
    they stay as they are. Just what is named goes, for good; `stead unclaimed remove` takes all of an instance.
    """
    Operator(settings.load()).discard_unclaimed(host_id, ids)
    say(f"{host_id} removes {', '.join(ids)}")
