"""What pytest starts as a worker: it gives its standard input, output and error to a fork of `worker_source.py`.

It needs nothing but Python itself, so that it starts at once, and ends with the fork.
"""

import socket
import sys


def main(place: str) -> None:
    """Ask for a fork, and wait until it has ended."""
    with socket.socket(socket.AF_UNIX) as source:
        source.connect(place)
        socket.send_fds(source, [b"w"], [0, 1, 2])
        source.recv(1)


if __name__ == "__main__":
    main(sys.argv[1])
