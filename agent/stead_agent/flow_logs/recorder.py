"""The thread that reads the kernel's flow counts and writes records; nothing waits for it."""

import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.flow_logs.files import RecordFiles
from stead_agent.flow_logs.interface import FlowLog, Namespaces, VpcFlowLogs
from stead_agent.flow_logs.sources import Accepted, LostEventsError, Turned
from stead_agent.flow_logs.tally import Tally
from stead_agent.logs import Log

_log = Log(__name__)

_LOOK_SECONDS: Final = 30.0  # how often tracked flows are read; intervals end at a read


@dataclass(slots=True)
class _Vpc:
    """One VPC that is logged."""

    identity: int | None
    tally: Tally
    accepted: Accepted | None
    turned: Turned | None

    def descriptors(self) -> list[int]:
        sources = [self.accepted.ended] if self.accepted else []
        sources += [self.turned.log] if self.turned else []
        return [source.fileno() for source in sources]

    def close(self) -> None:
        for source in (self.accepted, self.turned):
            if source is not None:
                source.close()


class KernelFlowLogs:
    """The `FlowLogs` of real hosts."""

    def __init__(self, namespaces: Namespaces, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._namespaces, self._clock = namespaces, clock
        self._files = RecordFiles(folder)
        self._lock = threading.Lock()
        self._vpcs: dict[str, _Vpc] = {}
        self._thread: threading.Thread | None = None
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_closed = False

    def apply(self, vpc: VpcFlowLogs) -> None:
        """Log exactly these flows."""
        identity = self._namespaces.identity(vpc.vpc_id)
        with self._lock:
            state = self._vpcs.get(vpc.vpc_id)
            if (state is None and not vpc.logs) or (
                state is not None and state.identity == identity and state.tally.desired == vpc
            ):
                return
            self._end(vpc.vpc_id)
            if vpc.logs and identity is not None and not self._is_closed:
                try:
                    self._begin(vpc, identity)
                except OSError as error:  # a kernel that cannot log must not keep guests from running
                    _log.warning("flow_log_not_begun", vpc=vpc.vpc_id, reason=str(error))
        os.write(self._wake_writer, b"!")

    def _begin(self, vpc: VpcFlowLogs, identity: int) -> None:
        accepted = any(log.accepted for log in vpc.logs)
        rejected = any(log.rejected for log in vpc.logs)
        self._vpcs[vpc.vpc_id] = _Vpc(
            identity,
            Tally(vpc, int(self._clock())),
            Accepted(self._namespaces, vpc.vpc_id) if accepted else None,
            Turned(self._namespaces, vpc.vpc_id) if rejected else None,
        )
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="flow-logs", daemon=True)
            self._thread.start()

    def remove(self, vpc_id: str) -> None:
        """Write out the records of a VPC, and stop logging it."""
        with self._lock:
            self._end(vpc_id)

    def _end(self, vpc_id: str) -> None:
        state = self._vpcs.get(vpc_id)
        if state is not None:
            self._look(state)
            self._write(state, list(state.tally.desired.logs))
            del self._vpcs[vpc_id]
            state.close()

    def collect(self) -> None:
        """Read now, and end all intervals."""
        with self._lock:
            for state in self._vpcs.values():
                self._look(state)
                self._write(state, list(state.tally.desired.logs))

    def close(self) -> None:
        """Write out everything and end."""
        with self._lock:
            self._is_closed = True
            for vpc_id in list(self._vpcs):
                self._end(vpc_id)
        os.write(self._wake_writer, b"!")
        if self._thread is not None:
            self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    # --- the thread

    def _run(self) -> None:
        next_look = time.monotonic() + _LOOK_SECONDS
        while not self._is_closed:
            self._wait(next_look - time.monotonic())
            is_time = time.monotonic() >= next_look
            with self._lock:
                for state in self._vpcs.values():
                    self._read(state)
                    if is_time:
                        self._look(state)
                        self._write(state, state.tally.due(int(self._clock())))
            if is_time:
                next_look = time.monotonic() + _LOOK_SECONDS

    def _wait(self, seconds: float) -> None:
        """Wait for an event, a change of the desired state, or so many seconds."""
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        with self._lock:
            for state in self._vpcs.values():
                for descriptor in state.descriptors():
                    poll.register(descriptor, select.POLLIN)
        ready = poll.poll(max(0.0, seconds) * 1000)
        if any(descriptor == self._wake_reader for descriptor, _ in ready):
            os.read(self._wake_reader, 4096)

    def _read(self, state: _Vpc) -> None:
        """Read the events that the kernel has sent."""
        now = int(self._clock())
        try:
            if state.accepted:
                for counted in state.accepted.read_ended():
                    state.tally.counted(counted, now)
            if state.turned:
                for rejected in state.turned.read():
                    state.tally.rejected(rejected, now)
        except LostEventsError:
            state.tally.lost()

    def _look(self, state: _Vpc) -> None:
        """Read everything available, before an interval ends."""
        self._read(state)
        if state.accepted is None:
            return
        now = int(self._clock())
        try:
            for counted in state.accepted.look():
                state.tally.counted(counted, now)
        except LostEventsError:
            state.tally.lost()
        except OSError as error:  # the namespace is probably gone: other VPCs' logs continue
            _log.warning("flow_log_not_read", vpc=state.tally.desired.vpc_id, reason=str(error))

    def _write(self, state: _Vpc, logs: list[FlowLog]) -> None:
        now = int(self._clock())
        for log in logs:
            for interface, lines in state.tally.ended(log, now):
                try:
                    self._files.append(log.log_group, interface.id, lines)
                except OSError as error:  # a full disk loses records, not the thread
                    _log.warning("flow_log_not_written", log=log.id, interface=interface.id, reason=str(error))
