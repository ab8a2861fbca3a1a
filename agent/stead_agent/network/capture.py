"""Capture the packets of one link for a while into a pcap file (draft-ietf-opsawg-pcap), for debugging by a person."""

import errno
import socket
import struct
import time
from typing import Final

from stead_agent.network.interface import NetworkError

_MAGIC: Final = 0xA1B2C3D4  # timestamps in microseconds
_ETHERNET: Final = 1  # LINKTYPE_ETHERNET
_ALL_PROTOCOLS: Final = 0x0003  # ETH_P_ALL
_WHOLE: Final = 262_144  # a snap length that truncates nothing
_MOST_BYTES: Final = 8 << 20  # maximum size of a file: it is sent in one message
_SO_TIMESTAMP: Final = 29  # asm-generic/socket.h; its message has the same number
_BUFFER: Final = 4 << 20


def capture(link: str, seconds: float, packets: int, snap_length: int) -> bytes:
    """Capture on a link of the calling thread's namespace until the time is over or `packets` packets were captured.

    Returns a pcap file; raises NetworkError when the link does not exist, or disappears before the first packet.
    """
    snap = snap_length or _WHOLE
    file = bytearray(struct.pack("=IHHiIII", _MAGIC, 2, 4, 0, 0, snap, _ETHERNET))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        wire.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMP, 1)
        try:
            wire.bind((link, _ALL_PROTOCOLS))
        except OSError as error:
            if error.errno not in {errno.ENODEV, errno.ENETDOWN}:
                raise
            raise NetworkError(f"{link} is not on this host now: is its instance running?") from error
        end = time.monotonic() + seconds
        count = 0
        while count < packets and (left := end - time.monotonic()) > 0 and len(file) < _MOST_BYTES:
            wire.settimeout(left)
            try:
                frame, ancillary, _, _ = wire.recvmsg(65_536, socket.CMSG_SPACE(16))
            except TimeoutError:
                break
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                break  # the guest has stopped: return what was captured before
            file += _record(frame, ancillary, snap)
            count += 1
    return bytes(file)


def _record(frame: bytes, ancillary: list[tuple[int, int, bytes]], snap: int) -> bytes:
    stamp = next((data for level, kind, data in ancillary if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMP)), None)
    if stamp is not None:
        seconds, fraction = struct.unpack("=qq", stamp[:16])
    else:
        seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
    captured = frame[:snap]
    return struct.pack("=IIII", seconds & 0xFFFF_FFFF, fraction, len(captured), len(frame)) + captured
