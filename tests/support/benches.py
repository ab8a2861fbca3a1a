"""Run a benchmark of tests/bench at its smallest size, to test that it still works; its figures mean nothing then.

By hand: `python -m tests.support.benches NAME`; at its real size: `python -m tests.bench.NAME`.
"""

import importlib
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.support import loaded_programs
from tests.support.processes import ROOT, clean_environment

_SECONDS: Final = 800
# What gRPC logs when a server is stopped while a call arrives.
_ENDED_SERVER: Final = re.compile(
    r"Traceback \(most recent call last\):\n  File [^\n]*aio/server\.pyx\.pxi[^\n]*_schedule_rpc_coro\n"
    r"asyncio\.exceptions\.CancelledError\n"
)


@dataclass(frozen=True)
class Smallest:
    """The arguments of a benchmark, and values for its module's constants: small sizes, and limits that always hold.

    One that another runs has its name in `by`.
    """

    arguments: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""


WITHOUT_HOSTS: Final = MappingProxyType(
    {
        "agent": Smallest(
            ("--hosts", "3"), {"COMPILED": ("proto",), "WARMING": 0, "MEMBERS": 20, "CHANGES": 2, "IDLE_SECONDS": 0.2}
        ),
        "audit_loss": Smallest(("--rounds", "1"), {"UNTIL_KILLED": (0.0, 0.2)}),
        "authorization": Smallest((), {"TIMES": 1}),
        "aws_protocol": Smallest((), {"COUNT": 5, "TIMES": 2}),
        "bills": Smallest(("--instances", "20", "--lines", "40"), {"ROUNDS": 1, "LIMITS": {}}),
        "controller_start": Smallest(("--rounds", "1")),
        "describe": Smallest(("--pages", "1"), {"COUNT": 5}),
        "fan_out": Smallest(
            ("--hosts", "3", "--processes", "1"),
            {"ROUNDS": 2, "IMAGE_BYTES": 1 << 20, "REPORTED_SECONDS": 0.1, "STORED_SECONDS": 0.1},
        ),
        "launch_cost": Smallest(("--rounds", "1", "--launches", "2", "--hosts", "3")),
        "launch_rate": Smallest(
            ("--hosts", "3", "--accounts", "2", "--present", "12", "--singly", "2", "--bulk", "2"),
            {"WARMING": 2, "AT_ONCE": 2, "IDLE_SECONDS": 0.2, "RECORDED_SECONDS": 0.1},
        ),
        "launches_at_once": Smallest(("--sqlite", "--launches", "4", "--at-once", "2", "--hosts", "2")),
        "placement": Smallest(("--hosts", "3", "--volumes", "1", "--times", "2"), {"LIMIT_MS": 1e9}),
        "places_elsewhere": Smallest(("--vpcs", "1", "--messages", "1"), {"PRESENT": (2, 4), "ROUNDS": 1}),
        "prepared_statements": Smallest(("--rounds", "1"), {"TIMES": 20, "LEAST": 0}),
        "snapshot_ingest": Smallest((), {"BLOCKS": 8, "CHANGED": 2, "ROUNDS": 1}),
        "tenant_timing": Smallest(("--samples", "20")),
    }
)
"""What needs no more than programs of ours: run by tests/api."""

ON_A_HOST: Final = MappingProxyType(
    {
        "bandwidth": Smallest(
            ("--rounds", "1"),
            {
                "FIGURES": (8,),
                "SECONDS": 0.2,
                "WARMING": 0.1,
                "LEAST": 0,
                "MOST": 1e9,
                "BYTES": 1 << 20,
                "ROUND_TRIPS": 5,
                "LEAST_RATIOS": {"sent": 0, "received": 0, "round trips": 0},
            },
        ),
        "firewall_changes": Smallest((), {"SIZES": (10, 60), "FLOWS": 10, "TIMES": 2, "LIMIT": 1e9}),
        "firewall_datapath": Smallest((), {"SECONDS": 0.05, "ROUNDS": 1, "LIMIT": 0}),
        "firewall_oracle": Smallest(("30", "1")),
        "metadata": Smallest((), {"SECONDS": 0.1, "LEAST": 0, "LIMIT_MS": 1e9}),
        "metadata_neighbour": Smallest(("--rounds", "2"), {"SECONDS": 0.05, "PAUSE": 0.05, "LIMIT": 1e9}),
        "metrics": Smallest(
            ("--instances", "4", "--rounds", "1", "--days", "1"), {"IDLE_SECONDS": 0.2, "READ": 2, "LIMIT_MS": 1e9}
        ),
        "network_changes": Smallest(
            (),
            {
                "VPCS": 2,
                "INTERFACES": 2,
                "CHANGES": 2,
                "ELSEWHERE": (2, 5),
                "LIMITS": dict.fromkeys(("first VPC", "interface", "elsewhere"), 1e9),
            },
        ),
        "object_store": Smallest(("--rounds", "1"), {"LARGE": 4 << 20, "SMALL": 2}),
        "remote_volume": Smallest(("--rounds", "1"), {"COUNT": 40, "FLOOR_COUNT": 20}),
        "vxlan": Smallest(("--rounds", "2"), {"BYTES": 1 << 18, "ROUND_TRIPS": 5, "LIMIT": 0}),
    }
)
"""What needs root and the kernel: run by tests/host."""

WITH_GUESTS: Final = MappingProxyType(
    {
        "guest_memory": Smallest(("96mib",), {"READ_MIB": 1, "FILLED": 0.1}),
        "lazy_base": Smallest(("--mib", "97"), {"VOLUMES": 3}),
        "machine_start": Smallest(("--rounds", "1", "--machines", "1"), {"WARMING": 0, "REPEATS": 1}),
        "rule_to_kernel": Smallest(
            ("--members", "20"), {"ROUNDS": 2, "BLANK_GUEST": True}
        ),  # each second round undoes the first
        "snapshot_stall": Smallest(
            ("--snapshots", "1"), {"FILLED": 1, "WRITES": 5, "CHANGED": 2, "REST": "usleep 50000"}
        ),
        "volume_io": Smallest(
            ("--rounds", "1"),
            {
                "SIZE": 1 << 20,
                "WARMING": 0,
                "BY_HAND": 1,
                "LEAST_SECONDS": 0,
                "WORK": {"reads": "dd if=/dev/vdb of=/dev/null bs=4k count=20 iflag=direct"},
            },
        ),
    }
)
"""What boots guests, each in a box of its own: run by tests/e2e."""

IN_A_CLOUD: Final = MappingProxyType(
    {
        "launch": Smallest(("--rounds", "1"), {"WARMING": 0}),
        "scale_out": Smallest(("--most", "2"), {"IDLE_BEFORE": 2, "REST": "usleep 300000", "TARGET": 2.0}),
    }
)
"""What boots guests of a cloud that is there: run by tests/e2e."""

WITH_POSTGRESQL: Final = MappingProxyType(
    {
        "shared_launches": Smallest(
            (
                *("--database", "postgresql", "--controllers", "2", "--hosts", "1", "--accounts", "1"),
                *("--launches", "4", "--at-once", "2", "--samples", "2"),
            ),
            {"WARMING": 1, "RATE_LIMIT": 0, "WAY_LIMIT_MS": 1e9},
            by="launch_rate",
        ),
    }
)
"""What needs a server of PostgreSQL: run by tests/api."""


def run(name: str, *arguments: str, seconds: float = _SECONDS, **environment: str) -> str:
    """Run a benchmark at its smallest size in its own process and return its output; a crash fails the test.

    Exit status 1, which means that a limit was missed, is ignored.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.benches", name, *arguments],
        cwd=ROOT,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    _check(done.returncode, done.stdout, done.stderr)
    return done.stdout


def run_loaded(name: str, folder: Path) -> str:
    """Run one without hosts as `run` does, in a fork of a process that has loaded the programs."""
    command, output, errors = [sys.executable, "-m", __name__, name], folder / "output", folder / "errors"
    program = loaded_programs.start(command, clean_environment(), output, errors)
    assert program is not None
    try:
        status = program.wait(_SECONDS)
    finally:
        program.kill()
    said = output.read_text(encoding="utf-8")
    _check(status, said, errors.read_text(encoding="utf-8"))
    return said


def _check(status: int, output: str, errors: str) -> None:
    said = _ENDED_SERVER.sub("", errors)
    assert "Traceback" not in said, said
    assert status in (0, 1), f"{status}\n{output}\n{errors}"
    assert output, errors  # a benchmark without output measures nothing


def main() -> None:
    """Run one with its smallest size in this process."""
    name, *arguments = sys.argv[1:]
    smallest = {**WITHOUT_HOSTS, **ON_A_HOST, **WITH_GUESTS, **IN_A_CLOUD, **WITH_POSTGRESQL}[name]
    module = importlib.import_module(f"tests.bench.{name}")
    for constant, value in smallest.constants.items():
        getattr(module, constant)  # fails if the module has no such constant
        setattr(module, constant, value)
    sys.argv[1:] = [*smallest.arguments, *arguments]
    sys.exit(importlib.import_module(f"tests.bench.{smallest.by or name}").main())


if __name__ == "__main__":
    main()
