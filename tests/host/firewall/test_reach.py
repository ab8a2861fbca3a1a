"""FAULTS 4: where packets arrive is where EC2's documents say, on one host and across two, in IPv4 and IPv6.

Longer runs: python -m tests.bench.firewall_oracle.
"""

import random
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.host.firewall.hosts import new_hosts
from tests.host.firewall.random_cloud import fixed_cloud, on_one_host
from tests.host.firewall.reach_oracle import ReachOracle

CLOUDS, PACKETS = 32, 160


@pytest.fixture(scope="module", params=["one host", "two hosts"])
def oracle(request: pytest.FixtureRequest) -> Iterator[ReachOracle]:
    """A cloud on its hosts; each example makes it another one, live."""
    names, cloud = (
        (("a",), on_one_host(fixed_cloud(peered=True)))
        if request.param == "one host"
        else (("a", "b"), fixed_cloud(peered=True))
    )
    with new_hosts(*names) as hosts:
        made = ReachOracle(hosts, cloud)
        made.start(random.Random(0))
        yield made


def test_kernel_agrees_with_the_documents(oracle: ReachOracle) -> None:
    """Ten thousand packets for both parameters, with the answers to those that arrive."""
    before, start = oracle.packets, time.monotonic()

    @settings(
        max_examples=CLOUDS,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(st.integers(0, 10**9))
    def agrees(seed: int) -> None:
        chance = random.Random(seed)
        oracle.vary(chance)
        assert oracle.disagreements(chance, PACKETS) == []

    agrees()
    assert oracle.packets - before >= CLOUDS * PACKETS
    print(f"{oracle.packets - before} packets in {time.monotonic() - start:.1f} s")
