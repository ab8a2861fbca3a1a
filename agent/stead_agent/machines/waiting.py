"""Asks libvirt about guests without waiting for a QEMU that does not answer, and ends guests, which need not answer.

Libvirt waits for the answer of a guest's QEMU without end, and meanwhile nobody else may ask about that guest: others
are refused after half a minute, or at once where they ask not to wait.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import libvirt

PATIENCE_SECONDS: Final = 10.0
_MOST_WAITING: Final = 2  # of the five requests that libvirt lets a connection have under way


def seconds_waiting(domain: Any) -> float:
    """Return for how long libvirt has waited for an answer of a guest's QEMU by now; 0 if it does not wait for one.

    Nobody waits for one that ended by itself at this moment.
    """
    try:
        state, _, milliseconds = domain.controlInfo()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
        return 0.0
    return float(milliseconds) / 1000 if state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED else 0.0


def power_off(domain: Any) -> None:
    """Power off a guest; it is fine if it ended by itself at this moment."""
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


class Asker:
    """Asks in threads of its own, of which each ends when its question is answered, or the guest has ended."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        """Wait for each answer for up to `patience` seconds."""
        self._patience = patience
        self._lock = threading.Lock()
        self._unanswered: list[threading.Thread] = []

    def ask[Answer](self, question: Callable[[], Answer]) -> Answer | None:
        """Return the answer; None when it does not come soon, or too many others have not come yet."""
        with self._lock:
            self._unanswered = [thread for thread in self._unanswered if thread.is_alive()]
            if len(self._unanswered) >= _MOST_WAITING:
                return None
        future: Future[Answer] = Future()
        thread = threading.Thread(target=_answer, args=(question, future), name="asks-libvirt", daemon=True)
        thread.start()
        try:
            return future.result(self._patience)
        except TimeoutError:
            with self._lock:
                self._unanswered.append(thread)
            return None


def _answer[Answer](question: Callable[[], Answer], future: Future[Answer]) -> None:
    try:
        future.set_result(question())
    except Exception as error:  # for who waits; if nobody does any more, the next look finds the same
        future.set_exception(error)
