"""libnftables in our process: what it must not do to us."""

import os
import random
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from stead_agent.firewall.interface import FirewallError
from stead_agent.firewall.nftables import Nft
from tests.host.network.world import World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def test_many_open_files_do_not_abort_the_agent(world: World) -> None:
    """It waits with select(2): a socket of number 1024 or more would end the whole process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, before[1]))
    opened = []
    try:
        early = world.machine.inside("vpc-host", Nft)
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1500)]
        assert opened[-1] > 1024
        contexts = [world.machine.inside("vpc-host", Nft) for _ in range(20)]
        for number, nft in enumerate((early, *contexts)):
            nft.run(f"add table inet t{number}")
        assert len(early.tables()) == 21
        for nft in (early, *contexts):
            nft.close()
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_no_program_inherits_its_sockets(world: World) -> None:
    """dnsmasq outlives the agent: with our socket in its hands no later agent could change our tables."""
    nft = world.machine.inside("vpc-host", Nft)
    look = "import os,stat;print(sum(stat.S_ISSOCK(os.stat(f'/proc/self/fd/{n}').st_mode) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}') and int(n) > 2))"
    done = subprocess.run([sys.executable, "-c", look], close_fds=False, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    nft.close()


def test_refusals_are_errors_with_a_reason_and_change_nothing(world: World) -> None:
    nft = world.machine.inside("vpc-host", Nft)
    with pytest.raises(FirewallError, match="No such file"):
        nft.run("add table inet t\nadd rule inet t nowhere accept\n")
    with pytest.raises(FirewallError, match="syntax error"):
        nft.run("}")
    assert nft.tables() == frozenset()
    nft.close()
    with pytest.raises(FirewallError, match="closed"):
        nft.run("add table inet t")
    nft.close()


def test_many_threads_and_namespaces(world: World) -> None:
    """Each thread changes the rules of its own namespace at random; each namespace ends as its thread left it."""
    errors: list[str] = []

    def work(number: int) -> None:
        world.machine.create(f"vpc-{number}")
        nft, chance, mine = world.machine.inside(f"vpc-{number}", Nft), random.Random(number), set()
        nft.run("add table inet t\nadd set inet t s { type ipv4_addr; }\nadd chain inet t c\n")
        for _ in range(150):
            address = f"10.0.0.{chance.randrange(200)}"
            verb = "delete" if address in mine else "add"
            mine ^= {address}
            nft.run(
                f"{verb} element inet t s {{ {address} }}\nflush chain inet t c\nadd rule inet t c ip saddr @s accept\n"
            )
        (found,) = [item["set"] for item in nft.list("list set inet t s") if "set" in item]
        if set(found.get("elem", ())) != mine:
            errors.append(f"{number}: {len(found.get('elem', ()))} instead of {len(mine)}")
        nft.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_context_belongs_to_its_namespace(world: World) -> None:
    """Made by a thread that was there, used by others that are not: it stays where it was made."""
    nft = world.machine.inside("vpc-host", Nft)
    nft.run("add table inet here")
    assert "here" in world.at_host_run("nft", "list", "tables")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM):
        assert ("inet", "here") in nft.tables()
    nft.close()
