"""The agent's command line."""

import click
import pytest

from stead_agent.__main__ import run


def guest_ports(*ports: int) -> tuple[int, ...]:
    """Read `--guest-port` options as the command does."""
    context = run.make_context("run", [f"--guest-port={port}" for port in ports])
    return tuple(context.params["host_ports"])


def test_guests_may_reach_ports_beside_those_of_volumes() -> None:
    assert guest_ports(80, 60999, 63048) == (80, 60999, 63048)


@pytest.mark.parametrize("port", [61000, 63047])
def test_guests_may_not_reach_ports_of_volumes(port: int) -> None:
    with pytest.raises(click.BadParameter, match=f"{port} is one of the ports at which hosts serve volumes"):
        guest_ports(80, port)
