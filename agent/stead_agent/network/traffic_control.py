"""Encode and decode traffic control as rtnetlink(7) messages: shapers, and the redirection of taps to them.

A shaper is an ifb link with one class of tc-htb(8): two token buckets, and a queue. A packet goes when there are tokens
in both: one is filled at the `ceil` and holds what timers may be late, one at the `rate` and holds what was saved.
Written here, since pyroute2 converts buckets by way of floating point, and computes tables that kernels do not read.
"""

import contextlib
import errno
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from stead_agent.network.kernel_objects import Shaper
from stead_agent.network.route_messages import check, open_socket, received

QUEUE_MS: Final = 20
"""What the queue of a shaper holds at its rate, in milliseconds: longer, and whoever waits behind it notices."""
LEAST_QUEUE: Final = 1 << 18
"""What a queue holds at least, in bytes: some packets of 64 KiB, as they are before segmentation."""
LATE_MS: Final = 10
"""By how much the kernel may be late to send and still reach the rate, in milliseconds."""
GONE: Final = -1
"""Among the indexes of links."""

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_BODY: Final = struct.Struct("=BxxxiIII")  # struct tcmsg: family, index, handle, parent, info
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr
_RATE: Final = struct.Struct("=BBHhHI")  # struct tc_ratespec: cell log, link layer, overhead, align, least packet, rate
_CLASS: Final = struct.Struct("=5I")  # the rest of struct tc_htb_opt: buffer, cbuffer, quantum, level, prio
_GLOBAL: Final = struct.Struct("=5I")  # struct tc_htb_glob: version, r2q, default class, debug, direct packets
_SELECTOR: Final = struct.Struct("=BBBxHHhhI")  # struct tc_u32_sel
_KEY: Final = struct.Struct("=IIii")  # struct tc_u32_key: mask, value, offset, mask of the offset
_MIRRED: Final = struct.Struct("=IIiiiiI")  # struct tc_mirred: index, -, action, -, -, what to do, link
_NUMBER: Final = struct.Struct("=I")
_LONG: Final = struct.Struct("=Q")

_NEW_QDISC, _DEL_QDISC, _NEW_CLASS, _GET_CLASS, _NEW_FILTER, _GET_FILTER = 36, 37, 40, 42, 44, 46  # RTM_…
_REQUEST: Final = 0x5  # NLM_F_REQUEST | NLM_F_ACK
_CREATE, _EXCLUSIVE, _REPLACE, _DUMP = 0x400, 0x200, 0x100, 0x300  # NLM_F_…
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_TCA_KIND, _TCA_OPTIONS = 1, 2
_HTB_PARMS, _HTB_INIT, _HTB_RATE64, _HTB_CEIL64 = 1, 2, 6, 7  # TCA_HTB_…
_U32_SEL, _U32_ACT, _ACT_KIND, _ACT_OPTIONS, _MIRRED_PARMS = 5, 7, 1, 2, 2  # TCA_…
_TERMINAL, _STOLEN, _REDIRECT = 1, 4, 1  # TC_U32_TERMINAL, TC_ACT_STOLEN, TCA_EGRESS_REDIR
_ROOT, _CLSACT, _INGRESS, _EGRESS = 0xFFFF_FFFF, 0xFFFF_FFF1, 0xFFFF_FFF2, 0xFFFF_FFF3  # TC_H_…
_HTB, _ONLY_CLASS, _QUEUE, _HOOKS = 0x1_0000, 0x1_0001, 0x2_0000, 0xFFFF_0000  # our handles
_ALL: Final = 0x0300  # ETH_P_ALL in network byte order
# Of the filters at both hooks: with the same one the kernel lists those of one for the other too (cls_u32.c, u32_walk).
_PRIORITIES: Final = {_EGRESS: 1 << 16, _INGRESS: 2 << 16}
_ETHERNET: Final = 1  # TC_LINKLAYER_ETHERNET
_MOST: Final = 0xFFFF_FFFF  # of a rate in 32 bits; beyond, it is in an attribute of its own
_TICKS: Final = 15_625  # of 64 ns in a millisecond (PSCHED_SHIFT, include/net/pkt_sched.h)
_QUANTUM: Final = 200_000  # of no meaning for a class alone, but the kernel would warn of its own choice


class _At(NamedTuple):
    """The fields of struct tcmsg: which qdisc, class or filter of which link."""

    link: int
    handle: int
    parent: int
    info: int = 0


def shape(index: int, shaper: Shaper) -> None:
    """Give an ifb link of this namespace its class and queue; tokens of a class that is there already stay.

    Raises OSError with the kernel's error.
    """
    if not limits(index)[0]:
        # Nothing, or what a crash left: a link without our root has one that cannot be deleted.
        with _tolerated(errno.ENOENT, errno.EINVAL):
            _do(_DEL_QDISC, 0, _At(index, _HTB, _ROOT))
        options = _attribute(_HTB_INIT, _GLOBAL.pack(3, 10, _ONLY_CLASS & 0xFFFF, 0, 0))
        _do(_NEW_QDISC, _CREATE | _EXCLUSIVE, _At(index, _HTB, _ROOT), "htb", options)
    _do(_NEW_CLASS, _CREATE, _At(index, _ONLY_CLASS, _HTB), "htb", _class_options(shaper))
    queue = max(LEAST_QUEUE, shaper.rate * QUEUE_MS // 1000)
    _do(_NEW_QDISC, _CREATE | _REPLACE, _At(index, _QUEUE, _ONLY_CLASS), "bfifo", _NUMBER.pack(min(queue, _MOST)))


def limits(index: int) -> tuple[int, int, int]:
    """Return a shaper's rate and ceil in bytes per second, and what it saves in milliseconds.

    A link that is not shaped has zeros; a shaper whose queue is gone saves nothing.
    """
    for leaf, found in _dump(_GET_CLASS, index, 0):
        options = _attributes(found.get(_TCA_OPTIONS, b""))
        values = options.get(_HTB_PARMS, b"")
        if len(values) < 2 * _RATE.size + _CLASS.size:
            continue
        rate, ceil = _RATE.unpack_from(values)[5], _RATE.unpack_from(values, _RATE.size)[5]
        saved = _CLASS.unpack_from(values, 2 * _RATE.size)[0] // _TICKS
        if _HTB_RATE64 in options:
            rate = _LONG.unpack(options[_HTB_RATE64])[0]
        if _HTB_CEIL64 in options:
            ceil = _LONG.unpack(options[_HTB_CEIL64])[0]
        return rate, ceil, saved if leaf == _QUEUE else 0
    return 0, 0, 0


def redirect(index: int, into: int, out_of: int) -> None:
    """Send all that a tap gives to its guest through one link, and all that it gets from it through another.

    Both are given by index, and send each packet on its way again; 0 ends it. Raises OSError with the kernel's error.
    """
    with _tolerated(errno.ENOENT, errno.EINVAL):  # there was nothing
        _do(_DEL_QDISC, 0, _At(index, _HOOKS, _CLSACT))
    if not into or not out_of:
        return
    _do(_NEW_QDISC, _CREATE | _EXCLUSIVE, _At(index, _HOOKS, _CLSACT), "clsact")
    for hook, link in ((_EGRESS, into), (_INGRESS, out_of)):
        _do(
            _NEW_FILTER,
            _CREATE | _EXCLUSIVE,
            _At(index, 0, hook, _PRIORITIES[hook] | _ALL),
            "u32",
            _filter_options(link),
        )


def redirects(index: int) -> tuple[int, int]:
    """Return the indexes of the links that a tap is redirected to, first the one towards the guest.

    0 is for none, GONE for one that is not there any more: what is redirected to it is dropped.
    """
    return _redirected(index, _EGRESS), _redirected(index, _INGRESS)


def _redirected(index: int, hook: int) -> int:
    for _, found in _dump(_GET_FILTER, index, hook):
        actions = _attributes(_attributes(found.get(_TCA_OPTIONS, b"")).get(_U32_ACT, b""))
        for action in actions.values():
            options = _attributes(_attributes(action).get(_ACT_OPTIONS, b""))
            if len(values := options.get(_MIRRED_PARMS, b"")) >= _MIRRED.size:
                return int(_MIRRED.unpack_from(values)[6]) or GONE
    return 0


def _class_options(shaper: Shaper) -> bytes:
    rates = b"".join(_RATE.pack(0, _ETHERNET, 0, 0, 0, min(each, _MOST)) for each in (shaper.rate, shaper.ceil))
    buckets = _CLASS.pack(shaper.saved_ms * _TICKS, LATE_MS * _TICKS, _QUANTUM, 0, 0)
    return (
        _attribute(_HTB_PARMS, rates + buckets)
        + _attribute(_HTB_RATE64, _LONG.pack(shaper.rate))
        + _attribute(_HTB_CEIL64, _LONG.pack(shaper.ceil))
    )


def _filter_options(link: int) -> bytes:
    """Return the options of a filter that matches each packet, and redirects it to another link's queue."""
    parameters = _MIRRED.pack(0, 0, _STOLEN, 0, 0, _REDIRECT, link)
    action = _attribute(_ACT_KIND, b"mirred\0") + _attribute(_ACT_OPTIONS, _attribute(_MIRRED_PARMS, parameters))
    selector = _SELECTOR.pack(_TERMINAL, 0, 1, 0, 0, 0, 0, 0) + _KEY.pack(0, 0, 0, 0)
    return _attribute(_U32_SEL, selector) + _attribute(_U32_ACT, _attribute(1, action))


def _do(kind: int, flags: int, at: _At, name: str = "", options: bytes = b"") -> None:
    body = _BODY.pack(0, *at)
    if name:
        body += _attribute(_TCA_KIND, f"{name}\0".encode())
    if options:
        body += _attribute(_TCA_OPTIONS, options)
    with open_socket() as opened:
        opened.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body)
        for answer, buffer, start, _ in received(opened):
            if answer == _NLMSG_ERROR:
                check(buffer, start)
                return


def _dump(kind: int, index: int, parent: int) -> Iterator[tuple[int, dict[int, bytes]]]:
    """List classes or filters of a link as `tcm_info` and attributes; a link that is gone has none."""
    with open_socket() as opened:
        body = _BODY.pack(0, *_At(index, 0, parent))
        opened.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, 1, 0) + body)
        for answer, buffer, start, end in received(opened):
            if answer == _NLMSG_DONE:
                return
            if answer == _NLMSG_ERROR:
                with _tolerated(errno.ENODEV, errno.EINVAL):  # it has no such hook, or is gone
                    check(buffer, start)
                return
            yield _BODY.unpack_from(buffer, start)[4], _attributes(buffer[start + _BODY.size : end])


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(content: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(content):
        size, kind = _ATTRIBUTE.unpack_from(content, at)
        if size < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = content[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return found


@contextlib.contextmanager
def _tolerated(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
