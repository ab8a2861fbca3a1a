"""All tests: the shared fixtures of tests/support, and what tests of each folder need of the machine."""

import gc
import os
import shutil
import sys
from typing import Any

import hypothesis
import pytest

from tests.support import box, event_batches, micro, outside_clients, shared_dialect, worker_source
from tests.support.examples import examples
from tests.support.shares import Shares, is_light, rank_of
from tests.support.stable_names import unstable_part

pytest_plugins = ["tests.support.fixtures"]

_SUMMARY_LENGTH = 200  # characters of a failed test's message in the list at the end
_SELDOM = (20_000, 20, 50)  # objects and generations, for `gc.set_threshold`
_LIGHT_NICENESS = 5  # has a quarter of a processor that somebody else wants as well

# As the launcher does: programs that compile themselves at each start are half of what the tests wait for.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# People's runs look for new counterexamples each time; the build server's say the same of the same commit. How long an
# example takes says how loaded the machine is, no more.
_patient = {"max_examples": examples(), "deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("here", **_patient)
hypothesis.settings.register_profile("ci", derandomize=True, print_blob=True, **_patient)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config: pytest.Config) -> None:
    """Let one of several processes stand back behind the others; garbage is collected from the first test on."""
    gc.disable()
    shared_dialect.share()
    if hasattr(config, "workerinput"):
        event_batches.gather(config)
    if is_light(getattr(config, "workerinput", {}).get("workerid", "")):
        os.nice(_LIGHT_NICENESS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, so that nobody forgets it, and skip what this machine cannot run."""
    if hasattr(config, "workerinput"):  # several processes share the work
        items.sort(key=lambda item: rank_of(item.nodeid))
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if part := unstable_part(item.name, parameters):
            raise pytest.UsageError(f"{item.nodeid}: give it an id without the set {part}, which has no order")
        folder = item.nodeid.split("/", 2)[1]
        if folder in ("clients", "host"):
            item.add_marker(pytest.mark.root)
        if folder == "e2e":
            for name in ("root", "libvirt", "guest"):
                item.add_marker(getattr(pytest.mark, name))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: ./stead test"))
        if item.get_closest_marker("libvirt") and not shutil.which("libvirtd"):
            item.add_marker(pytest.mark.skip(reason="needs libvirtd: ./stead installs it"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Give each failed test one line in the list at the end: pytest would repeat whole differences there on a build server.

    They have been shown above by now.
    """
    for outcome in ("failed", "error"):
        for report in terminalreporter.getreports(outcome):
            crash = getattr(report.longrepr, "reprcrash", None)
            if crash is not None:
                crash.message = crash.message.partition("\n")[0][:_SUMMARY_LENGTH]


def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Let the processes that share the tests load them once."""
    worker_source.share(config, specs)


def pytest_configure_node(node: Any) -> None:
    """Understand what a process that shares the tests says."""
    event_batches.take_apart(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """Say which tests stay together when several processes share them."""
    return Shares(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Put the whole run into a box if any of its tests touches the host; what needs the network is fetched before.

    What is loaded by now stays until the end: to search it for garbage again and again took a twentieth of the time.
    Of what tests make little is garbage that needs a search, so it is searched seldom.
    """
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    gc.enable()
    marks = {mark.name for item in session.items for mark in item.iter_markers()}
    if session.config.option.collectonly or os.geteuid() != 0 or not marks & {"root", "libvirt", "guest"}:
        return
    if marks & {"libvirt", "guest"}:
        micro.build()
    outside_clients.fetch(outside_clients.named(session.items))
    if os.environ.get("STEAD_TEST_BOX") != "off":
        box.enter()
