"""Run functions inside a network namespace."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from pyroute2 import IPRoute

from stead_agent.network import kernel_lists
from stead_agent.network.kernel_changes import is_on
from stead_agent.network.route_messages import open_socket

_FORWARDING = 3  # BR_STATE_FORWARDING of a bridge port, linux/if_bridge.h
_UP = 6  # IF_OPER_UP, linux/if.h
_OPERSTATE, _LINKINFO, _INFO_KIND, _INFO_PORT, _PORT_STATE = 16, 18, 1, 5, 1  # IFLA_…


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
    with open_socket() as opened:
        for link in kernel_lists.read(opened, kernel_lists.LINKS, 0, 0, 0, 0, 0):
            information = link.inside(_LINKINFO)
            if not is_on(link) or information.text(_INFO_KIND) != "veth":
                continue
            port = information.inside(_INFO_PORT)
            state = port.number(_PORT_STATE) if port.attributes else _FORWARDING
            if link.number(_OPERSTATE) != _UP or state != _FORWARDING:
                return False
    return True
