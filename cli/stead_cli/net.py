"""`stead net`: what happens to packets, and why."""

import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from stead_cli import packets, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import json_or, output_option, say, show_rows
from stead_proto.v1 import operator_pb2 as pb

_PROTOCOLS: Final = ("tcp", "udp", "icmp")
_WINDOW_SECONDS: Final = 2  # of one request to the host, so that lines appear while the capture goes on


@click.group()
def net() -> None:
    """See what happens to packets."""


@net.command()
@click.argument("resource_id", metavar="INSTANCE|INTERFACE")
@click.option("--seconds", type=click.IntRange(1, 3600), default=10, show_default=True, help="How long to listen.")
@click.option("--packets", "most", type=click.IntRange(1), default=1000, show_default=True, help="Stop after so many.")
@click.option("--snap-length", type=click.IntRange(0, 65535), default=0, help="Bytes kept of each; default: all.")
@click.option("-w", "--write", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write a pcap file.")
def capture(resource_id: str, seconds: int, most: int, snap_length: int, file: Path | None) -> None:
    """Show the packets of an instance's first interface, or of a network interface, as seen on its host.

    The host is asked for two seconds at a time; between two questions some milliseconds are not seen.
    """
    operator = Operator(settings.load())
    end = time.monotonic() + seconds
    count = 0
    with (file or Path("/dev/null")).open("wb") as written:
        while count < most and (left := end - time.monotonic()) > 0:
            window = max(1, min(_WINDOW_SECONDS, round(left)))
            found = operator.capture(resource_id, window, most - count, snap_length)
            if not written.tell():
                written.write(found.pcap[: packets.FILE_HEADER])
            written.write(found.pcap[packets.FILE_HEADER :])
            for packet in packets.read(found.pcap):
                count += 1
                if file is None:
                    click.echo(packets.line(packet))
            sys.stdout.flush()
    say(f"{count} packets{f' in {file}' if file else ''}")


@net.command()
@click.argument("resource_id", metavar="INSTANCE|INTERFACE")
@click.option("--to", "to_address", required=True, metavar="ADDRESS", help="Where a packet is to go.")
@output_option
def look(resource_id: str, to_address: str, output: str) -> None:
    """Show what an interface's host has in force for it: tap, rules, route and services, as the kernel has them."""
    found = Operator(settings.load()).look(resource_id, to_address)
    rows = [
        {"ok": each.ok, "what": each.what, "resource": each.id, "detail": each.detail, "host": found.host_id}
        for each in found.findings
    ]
    show_rows(rows, ("ok", "what", "resource", "detail"), output)
    if not all(each.ok for each in found.findings):
        say("the first line that is not ok decides")


class Service(click.ParamType[tuple[str, int]]):
    """A port with its protocol, such as `22/tcp`, or `icmp`."""

    name = "PORT/PROTOCOL"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Parse it as protocol and port; a port alone means TCP, a protocol alone means any port."""
        if isinstance(value, tuple):
            return value
        port, _, protocol = str(value).lower().partition("/")
        if port in _PROTOCOLS and not protocol:
            return port, 0
        if (
            protocol not in ("", "tcp", "udp")
            or not port.isascii()
            or not port.isdigit()
            or not 1 <= int(port) <= 65535
        ):
            self.fail(f"{value} is not like 22/tcp, 53/udp or icmp", param, ctx)
        return protocol or "tcp", int(port)


@net.command()
@click.option("--from", "source", required=True, metavar="i-…|eni-…|igw-…", help="Who asks.")
@click.option("--to", "destination", required=True, metavar="i-…|eni-…|igw-…|ADDRESS", help="Who is asked.")
@click.option("--port", "service", type=Service(), default="22/tcp", show_default=True, help="22/tcp, 53/udp, icmp …")
@click.option("--rules-only", is_flag=True, help="Do not ask the hosts what is in force there.")
@output_option
def explain(source: str, destination: str, service: tuple[str, int], *, rules_only: bool, output: str) -> None:
    """Say whether traffic gets from one thing to another and its answer back, and what decides.

    Walks security groups, network ACLs, route tables, gateways, NAT, peerings as the controller knows them, then asks
    the hosts at both ends what the kernel has. Ends with status 1 when the traffic does not get through.
    """
    protocol, port = service
    operator = Operator(settings.load())
    found = operator.explain(source, destination, protocol, port)
    faults = [] if rules_only else [fault for end in found.ends for fault in _faults(operator, end)]

    def lines() -> None:
        for hop in found.hops:
            click.echo(f"  {'<-' if hop.reply else '->'} {hop.sentence}")
        wanted = f"{protocol} {port}".removesuffix(" 0")
        verb = "gets" if found.reachable else "does not get"
        click.echo(
            f"{wanted} {verb} from {source} to {destination}{', and the answer back' if found.reachable else ''}"
        )
        for reason in found.reasons:
            click.echo(f"  {'the answer: ' if reason.reply else ''}{reason.sentence} [{reason.code}]")
        for note in (*found.warnings, *faults):
            click.echo(f"  note: {note}")

    json_or(output, _document(found, faults), lines)
    if not found.reachable:
        sys.exit(1)


def _faults(operator: Operator, end: pb.ExplainEnd) -> list[str]:
    """List what is not in force on an interface's host, or say why the host cannot be asked."""
    try:
        seen = operator.look(end.interface_id, end.to_address)
    except CliError as error:
        return [f"the host of {end.interface_id} cannot be asked what is in force: {error}"]
    return [
        f"host {seen.host_id} has for {end.interface_id}: {each.what} {each.id} {each.detail}".rstrip()
        for each in seen.findings
        if not each.ok
    ]


def _document(found: pb.ExplainResponse, faults: list[str]) -> dict[str, Any]:
    return {
        "reachable": found.reachable,
        "hops": [
            {"component_id": hop.component_id, "sentence": hop.sentence, "reply": hop.reply} for hop in found.hops
        ],
        "reasons": [
            {
                "code": reason.code,
                "component_id": reason.component_id,
                "sentence": reason.sentence,
                "reply": reason.reply,
            }
            for reason in found.reasons
        ],
        "warnings": list(found.warnings),
        "hosts": faults,
    }
