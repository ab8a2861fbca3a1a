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
