"""Start a program in a place of a rig.

Run as a plain file: `python -I -S rig_enter.py exec PIDFD PROGRAM …` waits for the program and exits with its status;
`… start …` prints the program's process id, as seen from outside the place, and does not wait for it; the program's
stdout goes to stderr.
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
_NOT_FOUND = 127  # as shells report it


def main(argv: list[str]) -> int:
    """Enter the namespaces of the process behind a pidfd and start the program there."""
    mode, pidfd, *command = argv
    os.setns(int(pidfd), os.CLONE_NEWNET | os.CLONE_NEWUTS | os.CLONE_NEWPID | os.CLONE_NEWNS)
    os.close(int(pidfd))
    return _start(command) if mode == "start" else _execute(command)


def _execute(command: list[str]) -> int:
    """Run the program with our own stdin, stdout and stderr, and return its status."""
    pid = os.fork()  # after setns() only the children are in the PID namespace
    if not pid:
        # A signal that kills this process, at a deadline for example, must also kill the program.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _become(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the program as well
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF


def _start(command: list[str]) -> int:
    """Start the program as a child of the place's first process, which reaps it at once; print its id."""
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
    # The kernel translates the sender's process id into the receiver's PID namespace.
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
