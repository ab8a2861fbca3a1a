import importlib.metadata
import subprocess
import sys

import stead_agent


def test_the_agent_names_the_version_that_is_installed():
    assert importlib.metadata.version("stead") == stead_agent.VERSION


def test_a_running_agent_is_spared_what_it_has_no_use_for():
    heavy = ("cryptography", "aiohttp", "importlib.metadata", "email", "sqlalchemy", "botocore")
    program = (
        "import sys, stead_agent.__main__, stead_agent.real_host;"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
