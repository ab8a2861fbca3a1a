"""The agent of a host."""

import os
from typing import Final

VERSION: Final = "0.1.0"
"""The version that a host reports; a constant, since reading it from the installed package loads 2 MiB of library."""

# Read by gRPC when it is loaded. Without it gRPC ends and begins its threads around each fork, in the child as well,
# where they write to standard error of a program that another user is to run. No fork of an agent goes on with gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
