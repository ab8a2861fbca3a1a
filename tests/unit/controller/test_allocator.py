"""All threads share one heap: with one for each, every one keeps what was freed in it."""

import asyncio
import subprocess
import sys
from typing import Final
from unittest.mock import AsyncMock, MagicMock

import pytest

from stead_controller.controller import Controller
from stead_proto import resident
from tests.support.memory import heaps_of, memory_of

# Two threads that allocate by malloc at the same time, as one heap of their own each would be made for.
_PROGRAM: Final = """
import sys, threading
from stead_controller import allocator
if sys.argv[1] == "one":
    allocator.use_one_heap()
both, is_over = threading.Barrier(3), threading.Event()
def work():
    kept = [bytearray(5000) for _ in range(10)]
    both.wait()
    is_over.wait()
for _ in range(2):
    threading.Thread(target=work).start()
both.wait()
print("ready", flush=True)
sys.stdin.read()
is_over.set()
"""


@pytest.mark.parametrize("how", ["one", "each"])
def test_threads_share_the_heap(how: str) -> None:
    words = [sys.executable, "-c", _PROGRAM, how]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        count = heaps_of(process.pid)
        process.communicate()
    assert process.returncode == 0
    assert (count == 0) == (how == "one")


# Nothing of what is freed is at the end of the heap, where free() itself gives pages back.
_FREES: Final = """
import sys
from stead_proto import resident
kept = [bytearray(1000) for _ in range(60_000)]
last = kept[-1]
del kept
print("freed", flush=True)
sys.stdin.readline()
resident.give_back()
print("given back", flush=True)
sys.stdin.readline()
"""


def test_what_is_freed_inside_the_heap_is_given_back() -> None:
    with subprocess.Popen([sys.executable, "-c", _FREES], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sizes = []
        for said in (b"freed\n", b"given back\n"):
            assert process.stdout.readline() == said
            sizes.append(memory_of(process.pid)["Rss"])
            process.stdin.write(b"\n")
            process.stdin.flush()
        process.communicate()
    assert process.returncode == 0
    assert sizes[0] - sizes[1] > 40, sizes


async def test_the_controller_gives_back_from_time_to_time() -> None:
    parts = MagicMock(_copies=None)
    parts._sharing.run = AsyncMock()
    Controller._begin_work(parts)
    works = [call.args[1] for call in parts._every.call_args_list]
    assert (asyncio.to_thread, (resident.give_back,)) in [(work.func, work.args) for work in works]
