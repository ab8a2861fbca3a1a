"""Starts a program in a place of a rig.

Run as a plain file: `python -I -S rig_enter.py exec PIDFD PROGRAM …` waits for the program and ends as it does;
`… start …` says the program's process id, as seen from outside of the place, and leaves it alone, its stdout where
stderr goes.
"""

import ctypes
import os
import signal
import socket
import struct
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CREDENTIALS = struct.Struct("iII")  # unix(7), struct ucred: process, user, group
_NOT_FOUND = 127  # as shells say it


def main(argv: list[str]) -> int:
    """Enter the namespaces of the process behind a pidfd and start the program there."""
    mode, pidfd, *command = argv
    os.setns(int(pidfd), os.CLONE_NEWNET | os.CLONE_NEWUTS | os.CLONE_NEWPID | os.CLONE_NEWNS)
    os.close(int(pidfd))
    return _start(command) if mode == "start" else _execute(command)


def _execute(command: list[str]) -> int:
    """Run the program with our own stdin, stdout and stderr, and return its status."""
    pid = os.fork()  # only a child of a process that entered a PID namespace is in it
    if not pid:
        # Whoever kills this process, at a deadline say, means the program.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _become(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the program as well
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF


def _start(command: list[str]) -> int:
    """Leave the program to the place's first process, which reaps it at once when it ends; say its id."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    parent = os.fork()
    if not parent:
        if os.fork():
            os._exit(0)
        os.setsid()
        os.dup2(2, 1)
        there.send(b"here")
        _become(command)
    os.waitpid(parent, 0)
    # The kernel tells a sender's process id as the receiver's own PID namespace has it.
    _, [(_, _, credentials)], _, _ = here.recvmsg(16, socket.CMSG_SPACE(_CREDENTIALS.size))
    print(_CREDENTIALS.unpack(credentials)[0], flush=True)
    return 0


def _become(command: list[str]) -> NoReturn:
    """Turn this process into the program."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(_NOT_FOUND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
