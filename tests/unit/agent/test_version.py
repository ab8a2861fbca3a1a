import importlib.metadata
import subprocess
import sys

import stead_agent


def said_by(program: str) -> list[str]:
    """Return the words that a process of its own prints for a program of Python."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


def test_the_agent_names_the_version_that_is_installed():
    assert importlib.metadata.version("stead") == stead_agent.VERSION


def test_a_running_agent_is_spared_what_it_has_no_use_for():
    heavy = (
        "cryptography",
        "aiohttp",
        "importlib.metadata",
        "email",
        "sqlalchemy",
        "botocore",
        "pyroute2",
        "opentelemetry",
        "configparser",
        "google.protobuf.text_format",
        "unittest",
    )
    program = (
        "import sys, stead_agent.__main__, stead_agent.real_host;"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    assert said_by(program) == []


def test_its_page_for_prometheus_needs_no_server_of_a_library():
    program = "import sys, stead_agent.exposition; print('aiohttp' in sys.modules, 'prometheus_client' in sys.modules)"
    assert said_by(program) == ["False", "True"]


def test_tests_can_be_written_with_unittest_beside_it():
    program = (
        "import stead_agent.network.routing_sockets;"
        "import unittest.mock, pyroute2.netlink.rtnl.iprsocket as sockets;"
        "print(unittest.TestCase.__name__, type(unittest.mock.Mock()).__name__);"
        "print(sockets.NotLocal.msg_queue.put_nowait(0, b'') is not None)"
    )
    assert said_by(program) == ["TestCase", "Mock", "True"]


def test_unittest_that_is_loaded_before_stays_as_it_is():
    program = (
        "import sys, unittest.mock as before;"
        "import stead_agent.network.routing_sockets;"
        "import pyroute2.netlink.rtnl.iprsocket as sockets;"
        "print(sys.modules.get('unittest.mock') is before, isinstance(sockets.NotLocal.msg_queue, before.Mock))"
    )
    assert said_by(program) == ["True", "True"]


def test_what_else_pyroute2_has_is_loaded_when_it_is_asked_for():
    program = (
        "import sys, stead_agent.network.routing_sockets as mine;"
        "print('pyroute2.ndb' in sys.modules);"
        "from pyroute2 import netns, __version__, IPRoute, NDB;"
        "print('pyroute2.ndb' in sys.modules, IPRoute is mine.IPRoute, NDB.__module__, netns.__name__)"
    )
    assert said_by(program) == ["False", "True", "True", "pyroute2.ndb.main", "pyroute2.netns"]


def test_all_of_pyroute2_may_be_loaded_before():
    program = "import pyroute2, stead_agent.network.routing_sockets as mine; print(pyroute2.IPRoute is mine.IPRoute)"
    assert said_by(program) == ["True"]
