"""One agent owns a folder of VPC namespaces: while it runs, and afterwards for as long as it has VPCs there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stead_agent.network.folder_owner import FolderTakenError, give_up, mark_of, owned

VPC = "vpc-0123456789abcdef0"

HOLD = """
import sys, time
from pathlib import Path
from stead_agent.network.folder_owner import owned
with owned(Path(sys.argv[1]), sys.argv[2]):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "netns"
    made.mkdir()
    return made


def test_a_folder_without_vpcs_is_free_after_its_agent_ended(folder: Path) -> None:
    with owned(folder, "/one"):
        assert mark_of(folder).exists()
    assert not mark_of(folder).exists()
    with owned(folder, "/two"):
        pass
    assert sorted(folder.parent.iterdir()) == [folder]


def test_a_folder_may_come_later(tmp_path: Path) -> None:
    with owned(tmp_path / "run" / "netns", "/one"):
        pass


def test_the_same_agent_comes_back_to_its_vpcs_and_no_other(folder: Path) -> None:
    with owned(folder, "/one"):
        (folder / VPC).touch()
    refusal = r"of the agent of /one, which does not run.*--netns-dir"
    with pytest.raises(FolderTakenError, match=refusal), owned(folder, "/two"):
        raise AssertionError("two has it")
    with owned(folder, "/one"):
        (folder / VPC).unlink()
    with owned(folder, "/two"):
        pass


def test_namespaces_of_other_programs_are_no_vpcs(folder: Path) -> None:
    (folder / "some-container").touch()
    with owned(folder, "/one"):
        pass
    with owned(folder, "/two"):
        pass


def test_another_agent_is_refused_while_one_runs_and_after_it_was_killed(folder: Path) -> None:
    (folder / VPC).touch()
    command = [sys.executable, "-c", HOLD, str(folder), "/one"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        assert one.stdout
        assert one.stdout.readline() == b"owned\n"
        for owner in ("/two", "/one"):
            refusal = rf"/one, which runs as process {one.pid};.*--netns-dir"
            with pytest.raises(FolderTakenError, match=refusal), owned(folder, owner):
                raise AssertionError(f"{owner} has it as well")
        os.kill(one.pid, signal.SIGKILL)
    with pytest.raises(FolderTakenError, match="does not run"), owned(folder, "/two"):
        raise AssertionError("two has it")
    with owned(folder, "/one"):
        pass


def test_two_names_of_one_folder_are_one_folder(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    with owned(folder, "/one"), pytest.raises(FolderTakenError), owned(folder.parent / "link", "/two"):
        raise AssertionError("two has it")


def test_an_empty_folder_is_given_up_and_one_with_vpcs_is_not(folder: Path) -> None:
    (folder / VPC).touch()
    give_up(folder)
    assert folder.exists()
    (folder / VPC).unlink()
    give_up(folder)
    assert not folder.exists()
    give_up(folder)
