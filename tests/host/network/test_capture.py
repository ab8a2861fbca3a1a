"""A capture of a real link is a pcap file that other programs read."""

import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from stead_agent.network.capture import capture
from stead_agent.network.interface import NetworkError
from stead_cli import packets
from tests.support.waiting import wait_for


def _send(stop: threading.Event) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while not stop.wait(0.01):
            sender.sendto(b"hello", ("127.0.0.1", 9))


def test_the_packets_of_a_link(tmp_path: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=[stop])
    thread.start()
    files = []

    def has_ours() -> bool:
        """Capture six packets, all of which others on this machine may have sent."""
        files.append(capture("lo", 5, 6, 0))
        found = [packets.describe(each.frame) for each in packets.read(files[-1])]
        assert len(found) == 6
        return any(each.endswith("> 127.0.0.1:9 UDP") for each in found)

    try:
        wait_for(has_ours, "a capture with a packet of ours")
    finally:
        stop.set()
        thread.join()
    if tcpdump := shutil.which("tcpdump"):
        (tmp_path / "it.pcap").write_bytes(files[-1])
        shown = subprocess.run([tcpdump, "-nr", tmp_path / "it.pcap"], capture_output=True, text=True, check=True)
        assert "127.0.0.1.9: UDP, length 5" in shown.stdout


def test_a_cut_packet_says_how_long_it_was() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=[stop])
    thread.start()
    try:
        wait_for(
            lambda: any(len(each.frame) == 20 < each.length for each in packets.read(capture("lo", 2, 4, 20))), "it"
        )
    finally:
        stop.set()
        thread.join()


def test_it_ends_in_time_and_says_when_there_is_no_link() -> None:
    assert len(capture("lo", 0.05, 10, 0)) >= packets.FILE_HEADER
    with pytest.raises(NetworkError, match="is not on this host"):
        capture("sttnone", 1, 1, 0)
