"""A program `aws` for shell scripts: the real command, in a fork of the process of `aws_command`, which has loaded it."""

import json
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support import aws_command

_SECONDS: Final = 600.0  # for a call that waits, as for an instance that boots
# Gives words, environment and folder to the test's process, and ends as the command did. It has no standard input.
# A shell starts Python, whose path may have a space or be too long for the kernel; to Python that line is a text.
_PROGRAM: Final = """#!/bin/sh
"exec" "{python}" "-IS" "$0" "$@"
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = dict(arguments=sys.argv[1:], environment=dict(os.environ), folder=os.getcwd())
    server.sendall(json.dumps(call).encode())
    server.shutdown(socket.SHUT_WR)
    answer = json.load(server.makefile())
sys.stdout.write(answer["stdout"])
sys.stderr.write(answer["stderr"])
sys.exit(answer["status"])
"""


class _Call(socketserver.StreamRequestHandler):
    """One call of the program."""

    def handle(self) -> None:
        """Run the command and answer with its outcome."""
        call: dict[str, Any] = json.load(self.rfile)
        done = aws_command.call(call["arguments"], call["environment"], Path(call["folder"]), _SECONDS)
        answer = {"stdout": done.stdout, "stderr": done.stderr, "status": done.returncode}
        self.wfile.write(json.dumps(answer).encode())


class _Server(socketserver.ThreadingUnixStreamServer):
    """Answers calls one after the other, since the loaded process runs one at a time."""

    daemon_threads = True


@contextmanager
def placed_in(folder: Path) -> Iterator[Path]:
    """Place the program in a folder, where it works while the context is open; gives its path."""
    program = folder / "aws"
    with tempfile.TemporaryDirectory(prefix="stead-aws-") as place:  # a socket's path is short
        address = f"{place}/socket"
        program.write_text(_PROGRAM.format(python=sys.executable, address=address), encoding="utf-8")
        program.chmod(0o755)
        with _Server(address, _Call) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield program
            finally:
                server.shutdown()
                program.unlink()
