"""nftables by libnftables, the library of nft(8), in this process (libnftables(3), libnftables-json(5)).

A context has one netlink socket, which stays in the namespace of the thread that created the context. A
transaction of a few elements takes 0.1 ms; running `nft` takes 4.
"""

import ctypes
import json
import threading
from collections.abc import Mapping
from typing import Any, Final

from stead_agent.firewall.descriptors import LowDescriptors
from stead_agent.firewall.interface import FirewallError

_OUTPUT_JSON: Final = 1 << 4  # NFT_CTX_OUTPUT_JSON
_OUTPUT_STATELESS: Final = 1 << 1  # NFT_CTX_OUTPUT_STATELESS: without counters and timers
_ERROR_TAIL: Final = 2000

# Contexts are independent, but the library has a few global counters (seen by comparing its data before and
# after calls), and gives no guarantees about threads. A call takes 0.1 ms.
_one_call_at_a_time = threading.Lock()
_low_descriptors = LowDescriptors()


class Nft:
    """One context: the rules of the namespace of the thread that creates it. Any thread may use it afterwards."""

    def __init__(self) -> None:
        self._library = _load()
        with _one_call_at_a_time:
            _low_descriptors.hold()
            self._context: int | None = _low_descriptors.with_low_socket(self._new, self._library.nft_ctx_free)
            self._library.nft_ctx_buffer_output(self._context)
            self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        """Free the context; tables that it owned may then be changed by anyone."""
        with _one_call_at_a_time:
            if self._context:
                self._library.nft_ctx_free(self._context)
                self._context = None
                _low_descriptors.hold()

    def _new(self) -> int:
        context: int | None = self._library.nft_ctx_new(0)
        if not context:
            raise FirewallError("libnftables gives no context")
        return context

    def run(self, commands: str) -> None:
        """Apply all the commands in one transaction, or none of them."""
        if commands:
            self._run(commands, 0)

    def list(self, command: str) -> list[Mapping[str, Any]]:
        """Return the objects that a command such as "list ruleset" lists, without handles and counters."""
        text = self._run(command, _OUTPUT_JSON | _OUTPUT_STATELESS)
        objects = json.loads(text)["nftables"] if text else []
        return [item for item in objects if "metainfo" not in item]

    def tables(self) -> frozenset[tuple[str, str]]:
        """List the tables by family and name."""
        return frozenset((item["table"]["family"], item["table"]["name"]) for item in self.list("list tables"))

    def _run(self, commands: str, flags: int) -> str:
        with _one_call_at_a_time:
            if not self._context:
                raise FirewallError("the context is closed")
            self._library.nft_ctx_output_set_flags(self._context, flags)
            result = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if result != 0:
            raise FirewallError(error.decode(errors="replace")[:_ERROR_TAIL].strip() or "nft refused without a reason")
        return output.decode()


def _load() -> ctypes.CDLL:
    """Load the library and declare the functions that we call."""
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise FirewallError(f"libnftables is not installed: {error}") from error
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    return library
