"""All threads share one heap: with one for each, every one keeps what was freed in it."""

import subprocess
import sys
from typing import Final

import pytest

from tests.support.memory import heaps_of

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
