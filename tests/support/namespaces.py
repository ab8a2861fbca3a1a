"""Run functions inside a network namespace."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from pyroute2 import IPRoute

_FORWARDING = 3  # BR_STATE_FORWARDING of a bridge port, linux/if_bridge.h


def inside[Result](namespace: str, what: Callable[[], Result]) -> Result:
    """Call a function in its own thread inside a namespace; sockets it makes stay in that namespace."""
    done: Future[Result] = Future()

    def enter() -> None:
        try:
            with Path("/run/netns", namespace).open() as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            done.set_result(what())
        except BaseException as failure:  # raised again in the calling thread
            done.set_exception(failure)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return done.result()


def loopback_up() -> None:
    """Set the loopback link up in the thread's namespace."""
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")


def carriers_are_on() -> bool:
    """Tell whether in the thread's namespace each veth that is up has a carrier, and each bridge port forwards."""
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
