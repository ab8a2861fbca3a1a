"""A process that adopts and reaps guests: it starts one program and stays as long as it has children.

Run as a plain file (`python -I -S reaper.py PROGRAM …`), so that it stays small. Guests detach from libvirtd, and
whoever adopts them must reap them at once, since libvirtd waits for their end: some PID 1s of containers take 1.6 s for
it. It ends no one: when the program it started ends, its guests stay and go on being reaped.
"""

import ctypes
import os
import sys

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(argv: list[str]) -> int:
    """Become a subreaper, start the program, and reap until there is no child left: its exit status is of no use."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.stderr.write(f"reaper: prctl: {os.strerror(ctypes.get_errno())}\n")
        return 1
    os.posix_spawnp(argv[0], argv, os.environ)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
