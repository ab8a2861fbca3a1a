"""A subreaper of guests: it starts one program and runs as long as it has children.

Run as a plain file (`python -I -S reaper.py PROGRAM …`), so that it stays small. Guests detach from libvirtd, and the
process that adopts them must reap them at once, since libvirtd waits for their end: some PID 1s of containers take
1.6 s for it. It kills no process: when the program it started ends, its guests run on and are still reaped.

`--instead FILE OF` before the program bind-mounts FILE over another, for the program and its guests only.
"""

import ctypes
import os
import sys

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_MS_BIND = 4096  # linux/mount.h
_MS_REC_SLAVE = 16384 | 1 << 19


def main(argv: list[str]) -> int:
    """Become a subreaper, start the program, and reap until there is no child left; its exit status is meaningless."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.stderr.write(f"reaper: prctl: {os.strerror(ctypes.get_errno())}\n")
        return 1
    if argv[0] == "--instead":
        _, file, other, *argv = argv
        os.unshare(os.CLONE_NEWNS)
        for source, target, flags in (("none", "/", _MS_REC_SLAVE), (file, other, _MS_BIND)):
            if libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None) != 0:
                sys.stderr.write(f"reaper: mount {target}: {os.strerror(ctypes.get_errno())}\n")
                return 1
    os.posix_spawnp(argv[0], argv, os.environ)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
