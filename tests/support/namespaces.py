"""What runs inside a network namespace."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from pyroute2 import IPRoute

_FORWARDING = 3  # the state of a port of a bridge, in linux/if_bridge.h


def inside[Result](namespace: str, what: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own that is inside a namespace; sockets it makes stay there."""
    done: Future[Result] = Future()

    def enter() -> None:
        try:
            with Path("/run/netns", namespace).open() as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            done.set_result(what())
        except BaseException as failure:  # raised again by the caller
            done.set_exception(failure)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return done.result()


def loopback_up() -> None:
    """Switch on the loopback of the namespace that the thread is in."""
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")


def carriers_are_on() -> bool:
    """Tell whether each veth of the thread's namespace that is switched on carries, and each port of a bridge forwards."""
    with IPRoute() as ip:
        for link in ip.get_links():
            information = link.get_attr("IFLA_LINKINFO")
            if not link["flags"] & 1 or not information or information.get_attr("IFLA_INFO_KIND") != "veth":
                continue
            port = information.get_attr("IFLA_INFO_SLAVE_DATA")
            state = port.get_attr("IFLA_BRPORT_STATE") if port else _FORWARDING
            if link.get_attr("IFLA_OPERSTATE") != "UP" or state != _FORWARDING:
                return False
    return True
