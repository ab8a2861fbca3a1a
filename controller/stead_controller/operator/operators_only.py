"""Calls of the operators' services by anybody else end before their handlers begin."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from stead_controller.operator.around_calls import AroundCalls, Context
from stead_controller.operator.peers import require_operator


class OperatorsOnly(AroundCalls):
    """Allows only operators, identified by their certificates, to call the given services."""

    @asynccontextmanager
    async def around(self, name: str, request: Any, context: Context) -> AsyncIterator[None]:
        """End the call of anyone else."""
        del name, request
        await require_operator(context)
        yield
