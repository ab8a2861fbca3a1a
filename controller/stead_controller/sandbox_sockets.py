"""`python -m stead_controller.sandbox_sockets CHANNEL PROCESS COUNT`: make sockets in the network of a process.

CHANNEL is a Unix socket, by which they are sent, and PROCESS a pidfd, both inherited. Only a process with one thread
can enter the user namespace that the network belongs to, and the controller has many.
"""

import os
import socket
import sys


def main() -> None:
    """Enter the network, and send that many unconnected TCP sockets."""
    channel, process, count = map(int, sys.argv[1:])
    os.setns(process, os.CLONE_NEWUSER | os.CLONE_NEWNET)
    made = [socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(count)]
    with socket.socket(fileno=channel) as out:
        socket.send_fds(out, [b"1"], [each.fileno() for each in made])


if __name__ == "__main__":
    main()
