"""A log keeps to a line of a kind in a second and to so many bytes in a file, whatever is written to it."""

import contextlib
import errno
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stead_proto import bounded_log
from stead_proto.bounded_log import OncePerSecond

_WRITER = """
import logging, os, pathlib, sys
from stead_proto.bounded_log import BoundedHandler
handler = BoundedHandler(pathlib.Path(sys.argv[1]), most_bytes=1000)
logging.basicConfig(level="INFO", format="%(message)s", handlers=[handler])
for number in range(200):
    logging.getLogger("stead_agent").info("%03d %s", number, "x" * 95)
os.write(1, b"the end\\n")
"""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passing(clock: Clock) -> OncePerSecond:
    return OncePerSecond("stead_controller", lambda fault: isinstance(fault, ValueError), clock)


def _record(
    name: str = "aiohttp.server", message: str = "no HTTP", fault: BaseException | None = None
) -> logging.LogRecord:
    about = None if fault is None else (type(fault), fault, None)
    return logging.LogRecord(name, logging.ERROR, "", 0, message, (), about)


def test_one_of_a_kind_passes_in_a_second_and_says_how_many_did_not(passing: OncePerSecond, clock: Clock) -> None:
    assert [passing.filter(_record()) for _ in range(4)] == [True, False, False, False]
    assert passing.filter(_record(message="another kind"))
    assert passing.filter(_record(fault=TypeError()))
    clock.now += 0.99
    assert not passing.filter(_record())
    clock.now += 0.02
    after = _record()
    assert passing.filter(after)
    assert vars(after)["left_out"] == 4
    clock.now += 2
    later = _record()
    assert passing.filter(later)
    assert "left_out" not in vars(later)


def test_our_own_always_pass(passing: OncePerSecond) -> None:
    own = [_record("stead_controller.aws.errors", fault=ValueError("ours")) for _ in range(3)]
    assert all(passing.filter(each) for each in own)
    assert all(each.exc_info for each in own)


def test_kinds_that_never_end_take_no_memory(passing: OncePerSecond) -> None:
    for number in range(5 * bounded_log._MOST_KINDS):
        passing.filter(_record(f"library.{number}"))
    assert len(passing._seen) <= bounded_log._MOST_KINDS


def test_a_clients_fault_is_one_line_and_another_one_has_its_traceback(passing: OncePerSecond) -> None:
    strangers, ours = _record(fault=ValueError("a line\nand another")), _record(fault=KeyError("x"))
    assert passing.filter(strangers)
    assert passing.filter(ours)
    assert (vars(strangers)["fault"], strangers.exc_info) == ("ValueError: a line", None)
    assert ours.exc_info is not None


def test_a_large_log_is_put_aside_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", _WRITER, log], stdout=output, stderr=output, check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program.log", *(f"program.log.{n}" for n in (1, 2, 3))]
    files = [log.with_name(f"program.log.{number}") for number in (3, 2, 1)] + [log]
    assert all(path.stat().st_size <= 1200 for path in files)
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert [int(line[:3]) for line in lines[:-1]] == list(range(201 - len(lines), 200)), "the newest, in order"
    assert lines[-1] == "the end", "standard output goes where standard error goes"


def test_standard_error_that_is_another_file_is_left_alone(tmp_path: Path) -> None:
    log, other = tmp_path / "program.log", tmp_path / "other"
    log.touch()
    with other.open("ab") as output:
        subprocess.run([sys.executable, "-c", _WRITER, log], stdout=output, stderr=output, check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "program.log"]
    assert len(other.read_text().splitlines()) == 201


_APPENDER = """
import sys
for line in sys.stdin:
    sys.stdout.write(line)
    sys.stdout.flush()
    sys.stderr.write("read")
    sys.stderr.flush()
"""


def test_a_large_log_is_emptied_while_a_program_appends_to_it(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    with log.open("ab") as output:
        words = [sys.executable, "-c", _APPENDER]
        program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.PIPE, text=True)
    with program:
        assert program.stdin is not None
        assert program.stderr is not None
        for number in range(6):
            program.stdin.write(f"line {number}\n")
            program.stdin.flush()
            assert program.stderr.read(4) == "read"
            bounded_log.copy_aside_if_large(log, 14)
        program.stdin.close()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "daemon.log": "",
        "daemon.log.1": "line 4\nline 5\n",
        "daemon.log.2": "line 2\nline 3\n",
        "daemon.log.3": "line 0\nline 1\n",
    }
    bounded_log.copy_aside_if_large(tmp_path / "none", 0)


@pytest.mark.parametrize(("number", "left"), [(errno.ENOSPC, ""), (errno.EDQUOT, ""), (errno.EIO, "all of it")])
def test_a_log_on_a_full_disk_is_emptied_without_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, left: str
) -> None:
    log = tmp_path / "daemon.log"
    log.write_text("all of it")

    def copy(_source: Path, to: Path) -> None:
        to.write_text("a part")
        raise OSError(number, "no")

    monkeypatch.setattr(shutil, "copy", copy)
    with contextlib.nullcontext() if not left else pytest.raises(OSError, match="no"):
        bounded_log.copy_aside_if_large(log, 1)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"daemon.log": left}


def test_a_large_log_is_put_aside_before_a_program_appends_to_it(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    bounded_log.put_aside_if_large(log, 10)
    log.write_text("short")
    bounded_log.put_aside_if_large(log, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["daemon.log"]
    log.write_text("long enough")
    bounded_log.put_aside_if_large(log, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["daemon.log.1"]
