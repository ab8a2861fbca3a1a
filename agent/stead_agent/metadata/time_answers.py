"""Answers to guests that ask for the time: NTP by the host's clock, as the kernel knows it. Pure but for `read_clock`.

See RFC 5905, 7.3 (the message) and adjtimex(2). A time program of the host has to keep its clock, and to tell the
kernel so: a clock that nothing keeps is told as not synchronised, and clients take no time from it.
"""

import ctypes
import os
import struct
from dataclasses import dataclass
from typing import Final

_MESSAGE: Final = struct.Struct("!BBbb4s4s4s8s8s8s8s")  # the header; what may follow it is not read
_CLIENT, _SERVER = 3, 4
_VERSIONS: Final = range(1, 5)
_SINCE_1900: Final = 2_208_988_800  # Unix time 0, in seconds of NTP's first era
_NANOSECONDS: Final = 1_000_000_000

# The kernel does not say from how far away the host has its time; no client prefers this one to its own source.
_STRATUM: Final = 5
_PRECISION: Final = -20  # log2 of seconds: a microsecond
_LOCAL: Final = bytes((127, 127, 1, 1))  # the source: this machine's clock
_UNKNOWN_LEAP: Final = 3
_NOT_SYNCHRONISED: Final = b"INIT"

_STA_INS, _STA_DEL, _STA_UNSYNC = 0x10, 0x20, 0x40  # linux/timex.h
_MOST_ERROR: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Clock:
    """What the kernel knows of its clock; `most_error` is in microseconds."""

    synchronised: bool
    most_error: int = 0
    leap: int = 0  # 0 none; 1 the day's last minute has 61 seconds; 2 it has 59


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


_libc: Final = ctypes.CDLL(None, use_errno=True)


def read_clock() -> Clock:
    """Ask the kernel for the state of its clock; raises OSError."""
    asked = _Timex()
    if _libc.adjtimex(ctypes.byref(asked)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return clock_of(asked.status, asked.maxerror)


def clock_of(status: int, most_error: int) -> Clock:
    """Convert the kernel's status bits and its error in microseconds."""
    leap = 1 if status & _STA_INS else 2 if status & _STA_DEL else 0
    return Clock(not status & _STA_UNSYNC, most_error, leap)


def answer(question: bytes, clock: Clock, received: int, sent: int) -> bytes | None:
    """Return the answer to a client's question, None to others; with when it came and is answered, Unix nanoseconds."""
    if len(question) < _MESSAGE.size:
        return None
    first, _, poll, *_, transmitted = _MESSAGE.unpack_from(question)
    version = first >> 3 & 7
    if first & 7 != _CLIENT or version not in _VERSIONS:
        return None
    leap, stratum, source = clock.leap, _STRATUM, _LOCAL
    if not clock.synchronised:
        leap, stratum, source = _UNKNOWN_LEAP, 0, _NOT_SYNCHRONISED
    error = min(clock.most_error * 0x1_0000 // 1_000_000, _MOST_ERROR)
    times = (timestamp(received), transmitted, timestamp(received), timestamp(sent))
    return _MESSAGE.pack(
        leap << 6 | version << 3 | _SERVER, stratum, poll, _PRECISION, bytes(4), error.to_bytes(4), source, *times
    )


def timestamp(nanoseconds: int) -> bytes:
    """Convert Unix time into NTP's: 32 bits of seconds since 1900, which begin anew in 2036, and 32 of their parts."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return struct.pack("!II", seconds + _SINCE_1900 & 0xFFFF_FFFF, (rest << 32) // _NANOSECONDS)
