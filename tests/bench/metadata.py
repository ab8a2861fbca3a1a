"""Budget P17: IMDSv2 at 1,024 requests per second and guest with p99 <= 5 ms; a flooding guest costs a neighbour < 5 %.

Run as root: python -m tests.bench.metadata. The service is the process that serves a host; only the lines with the pace
lifted have it in here. Guests are processes in namespaces of their own. The neighbour is compared with itself beside a guest that burns as much processor without asking: on two cores the
flooding client's own load would be counted as the service's otherwise.
"""

import multiprocessing
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stead_agent.metadata import control, server
from stead_agent.metadata.interface import ADDRESS, MetadataService, Options
from stead_agent.metadata.server_process import MetadataProcess
from stead_agent.metadata.service import Metadata
from tests.host.metadata.conftest import Vm, Vpc, namespaces
from tests.unit.agent.metadata.guests import guest

SECONDS = 4.0
TOKEN = b"PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n"
GET = b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 169.254.169.254\r\nUser-Agent: bench\r\nAccept: */*\r\n"


def _ask(sock: socket.socket, request: bytes) -> bytes:
    """Send one request and read its answer, which fits one packet."""
    sock.sendall(request)
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return answer


def _connect() -> socket.socket:
    """Connect so that closing leaves no TIME_WAIT: a client that has used up its ports searches 4 ms for each."""
    sock = socket.create_connection((ADDRESS, 80), timeout=10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def _measure(keep: bool, pause: float) -> tuple[float, float, float]:
    """Ask for some seconds; return requests per second and the median and 99th percentile in ms."""
    with _connect() as sock:
        token = _ask(sock, TOKEN).split(b"\r\n\r\n")[1]
    request = GET + b"X-aws-ec2-metadata-token: " + token + (b"" if keep else b"\r\nConnection: close") + b"\r\n\r\n"
    kept = _connect() if keep else None
    times = []
    end = time.monotonic() + SECONDS
    while (start := time.monotonic()) < end:
        if kept:
            _ask(kept, request)
        else:
            with _connect() as sock:
                _ask(sock, request)
        times.append(time.monotonic() - start)
        if pause:
            time.sleep(pause)  # the pace of the measured guest, not a wait
    if kept:
        kept.close()
    times.sort()
    return len(times) / SECONDS, times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3


def _flood_requests() -> None:
    """Ask as fast as possible over many connections, each for one question."""
    socks: list[socket.socket] = []
    while True:
        for _ in range(16):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((ADDRESS, 80))
            socks.append(sock)
        for sock in socks:
            try:
                sock.send(GET + b"\r\n")
            except OSError:
                continue  # not connected yet, or refused: a flood does not care
        for sock in socks[:-128]:
            sock.close()
        del socks[:-128]


def _flood_kept() -> None:
    """Keep 64 connections full of requests."""
    socks = [_connect() for _ in range(64)]
    for sock in socks:
        sock.setblocking(False)
    while True:
        for number, sock in enumerate(socks):
            try:
                sock.send((GET + b"\r\n") * 50)
            except BlockingIOError:
                pass  # the service lets it wait, as it should
            except OSError:
                sock.close()
                socks[number] = _connect()
                socks[number].setblocking(False)
            try:
                while sock.recv(65536):
                    pass
            except OSError:
                continue  # nothing to read


def _burn() -> None:
    """Use a processor without asking anything."""
    while True:
        pass


def _in_guest(vm: Vm, what: Callable[..., object], *arguments: object) -> multiprocessing.Process:
    """Start a function in a process inside a guest's namespace."""

    def enter() -> None:
        with Path("/run/netns", vm.namespace).open() as file:
            os.setns(file.fileno(), os.CLONE_NEWNET)
        what(*arguments)

    process = multiprocessing.get_context("fork").Process(target=enter, daemon=True)
    process.start()
    return process


def _used(pid: int) -> float:
    """Processor seconds that a process has used: proc_pid_stat(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _report(name: str, server_pid: int, vm: Vm, keep: bool, pause: float = 0.0) -> None:
    """Measure as one guest and print a line."""
    results: multiprocessing.Queue[tuple[float, float, float]] = multiprocessing.get_context("fork").Queue()
    process = _in_guest(vm, lambda: results.put(_measure(keep, pause)))
    before = _used(server_pid)
    rate, median, p99 = results.get(timeout=60)
    used = (_used(server_pid) - before) / SECONDS
    process.join()
    print(f"{name:58} {rate:8.0f}/s   p50 {median:6.3f} ms   p99 {p99:6.3f} ms   service {used:4.0%} of a core")


def main() -> None:
    """Measure and print; the pace of a guest is lifted for the first lines only."""
    with tempfile.TemporaryDirectory() as state, namespaces() as new_vpc:
        vpc, other = new_vpc(), new_vpc()
        vms = [vpc.vm("172.31.0.5"), vpc.vm("172.31.0.6"), other.vm("172.31.0.5")]
        here = Metadata(Path(state))
        server.RATE = 1e6
        _put(here, vpc, 0, "172.31.0.5", tokens_required=True)
        _report("one guest, one connection, pace lifted", os.getpid(), vms[0], keep=True)
        _report("one guest, a connection each, pace lifted", os.getpid(), vms[0], keep=False)
        here.close()
        service = MetadataProcess(Path(state, "run"), Path(state))
        _put(service, vpc, 0, "172.31.0.5", tokens_required=True)
        _put(service, vpc, 1, "172.31.0.6")
        _put(service, other, 2, "172.31.0.5")
        pid = control.listening_process(Path(state, "run"))
        _report("one guest, a connection each, as shipped", pid, vms[0], keep=False)
        _report("neighbour, 100/s, alone", pid, vms[0], keep=False, pause=0.01)
        for name, flood in (
            ("burns a core", _burn),
            ("floods connections", _flood_requests),
            ("floods kept", _flood_kept),
        ):
            for where, vm in (("same VPC", vms[1]), ("other VPC", vms[2])):
                attacker = _in_guest(vm, flood)
                _report(f"neighbour, 100/s, guest of {where} {name}", pid, vms[0], keep=False, pause=0.01)
                attacker.kill()
                attacker.join()
        service.end()


def _put(service: MetadataService, vpc: Vpc, number: int, address: str, *, tokens_required: bool = False) -> None:
    """Serve a VPC and one guest of it."""
    options = Options(http_tokens_required=tokens_required)
    service.put(vpc.vpc_id, replace(guest(number, address, vpc.vpc_id), options=options))
    service.serve(vpc.vpc_id, vpc.path)


if __name__ == "__main__":
    main()
