"""Convert an interface's idle timeouts into nft's objects: pure.

An object is named by its values, so that interfaces with the same values share it, and none ever changes: the kernel
cannot change one in place. A flow takes its timeouts with its first packet and has them until the object is removed.
"""

from stead_agent.firewall.interface import IdleTimeouts
from stead_agent.firewall.table import CtTimeout


def timeouts_of(idle: IdleTimeouts) -> dict[str, CtTimeout]:
    """Return the objects by name; none for a protocol that has no timeouts of its own."""
    named = {}
    if idle.tcp_established:
        why = f"TCP connections that are idle for {idle.tcp_established} seconds are forgotten."
        named[f"tcp-{idle.tcp_established}"] = CtTimeout(why, "tcp", (("established", idle.tcp_established),))
    states = (("unreplied", idle.udp), ("replied", idle.udp_stream))
    given = tuple((state, seconds) for state, seconds in states if seconds)
    if given:
        why = f"UDP flows that are idle are forgotten: {', '.join(f'{state} after {it} s' for state, it in given)}."
        named[f"udp-{idle.udp}-{idle.udp_stream}"] = CtTimeout(why, "udp", given)
    return named
