"""Clients of others are installed once, beside the tests, which wait for those that they name and say why one is missing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import outside_clients as clients
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(clients, "_beside", set())


def test_each_is_installed_once_and_one_that_cannot_be_says_why_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    broken = {"fog"}

    def install(_recipe: clients.Recipe, folder: Path) -> None:
        name = folder.name.rpartition("-")[0]
        installed.append(name)
        if name in broken:
            raise OSError("first line\nno network")

    monkeypatch.setattr(clients, "_install", install)
    assert clients.why_missing("fog") == "fog has not been installed"
    clients.fetch(["fog", "duckdb", "terraform"])
    assert (sorted(installed), installed[0]) == (["duckdb", "fog", "terraform"], "terraform")
    assert [clients.why_missing(name) for name in ("duckdb", "fog")] == [None, "fog cannot be installed: no network"]
    broken.clear()
    clients.fetch(["fog", "duckdb"])
    assert installed[3:] == ["fog"]
    assert clients.why_missing("fog") is None


def test_a_test_waits_while_its_client_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def install(_recipe: clients.Recipe, _folder: Path) -> None:
        begun.set()
        may_end.wait(10)

    monkeypatch.setattr(clients, "_install", install)
    with ThreadPoolExecutor() as threads:
        fetching = threads.submit(clients.fetch, ["fog"])
        assert begun.wait(10)
        asked = threads.submit(clients.why_missing, "fog")
        again = threads.submit(clients.fetch, ["fog"])
        wait_for(lambda: asked.running() and again.running(), "both ask", 10)
        begun.clear()
        may_end.set()
        assert (asked.result(10), again.result(10), fetching.result(10)) == (None, None, None)
        assert not begun.is_set(), "who waited finds it installed"


def test_what_another_process_has_looked_at_is_left_to_it(tmp_path: Path) -> None:
    folder = clients.folder_of("duckdb")
    folder.mkdir(parents=True)
    (folder / "ready").touch()
    end = clients.fetch_beside(["duckdb"])
    try:
        assert clients.why_missing("duckdb") is None
        (folder / "ready").unlink()
        clients.fetch(["duckdb"])
        assert clients.why_missing("duckdb") == "duckdb has not been installed", "this process leaves it to the other"
    finally:
        end()
