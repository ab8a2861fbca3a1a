"""What tests of other people's clients share: where a client is, or why there is none, and its examples run."""

import subprocess

import pytest

from tests.support import outside_clients
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def example():
    """A runner: `example(account, "libcloud", python, "machine.py")` runs a command in a folder of `examples/`."""

    def run(account, folder, *command, seconds=200, **environment):
        done = subprocess.run(
            [str(word) for word in command],
            cwd=ROOT / "examples" / folder,
            env=account.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{folder}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


@pytest.fixture
def client(request):
    """Where the client that the test's mark names is installed; the test is skipped where it cannot be had."""
    [name] = request.node.get_closest_marker("client").args
    if why := outside_clients.why_missing(name):
        pytest.skip(why)
    return outside_clients.folder_of(name)
