"""`stead net`: what happens to packets, and why."""

import sys
import time
from pathlib import Path
from typing import Final

import click

from stead_cli import packets, settings
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, show_rows

_WINDOW_SECONDS: Final = 2  # of one question to the host, so that lines appear while it goes on


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
