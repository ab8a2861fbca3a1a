"""Disks on a real LVM thin pool, in a guest with Debian's stock kernel: this machine's own may have no device-mapper."""

import json

import pytest

from tests.host.volumes import lvm_life
from tests.support import stock_kernel

pytestmark = [pytest.mark.guest, pytest.mark.root]


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    """What came of all trials, by name; one guest is booted for all."""
    command = ".venv/bin/python -m tests.host.volumes.lvm_life 2>&1"
    try:
        ended = stock_kernel.run(command, disk=512 << 20)
    except stock_kernel.CannotRunError as error:
        pytest.skip(str(error))
    lines = [line.split(" ", 1)[1] for line in ended.output.splitlines() if line.startswith("result ")]
    print(ended.output)
    assert ended.status == 0, ended.output[-4000:]
    return dict(json.loads(line) for line in lines)


@pytest.mark.parametrize("name", [each.__name__ for each in lvm_life.TRIALS])
def test_a_thin_pool(results: dict[str, str], name: str) -> None:
    assert results[name] == "ok", results[name]
