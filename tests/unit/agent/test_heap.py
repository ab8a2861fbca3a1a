"""Threads share few arenas of the C library's heap; seen in a process of its own, since the setting is for good."""

import subprocess
import sys

import pytest

_ALLOCATES = """
import ctypes, sys, threading
if sys.argv[2] == "small":
    from stead_agent import heap
    heap.limit_size()
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
library.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
library.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
library.fclose.argtypes = [ctypes.c_void_p]
together = threading.Barrier(6)
def allocate():
    together.wait()
    assert library.malloc(2000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = library.fopen(sys.argv[1].encode(), b"w")
assert library.malloc_info(0, file) == 0
library.fclose(file)
"""


@pytest.mark.parametrize(("setting", "few"), [("small", True), ("default", False)])
def test_threads_share_arenas(tmp_path, setting, few):
    reported = tmp_path / "malloc.xml"
    subprocess.run([sys.executable, "-c", _ALLOCATES, reported, setting], check=True, timeout=60)
    assert (reported.read_text().count("<heap nr=") <= 2) is few
