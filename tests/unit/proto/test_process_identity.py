"""A line identifies a process among all others."""

import os
import subprocess
import sys

from stead_proto.process_identity import identity_of


def test_a_process_has_one_line_as_long_as_it_lives() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mine, its = identity_of(os.getpid()), identity_of(child.pid)
    assert mine is not None
    assert its is not None
    assert its.startswith(f"{child.pid} ")
    assert its == identity_of(child.pid)
    assert mine.split()[2] == its.split()[2]
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity_of(child.pid) is None, "it has ended, though its parent has not heard of it"
    child.wait()
    assert identity_of(child.pid) is None
