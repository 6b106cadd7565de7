"""What a call is refused with."""

from __future__ import annotations

from collections.abc import Awaitable

import grpc

from brikk_shared.errors import BrikkError
from brikk_shared.status import from_rpc_error


async def refused(call: Awaitable[object]) -> BrikkError:
    """Make a call that must fail, and give its error; an answer is a failure."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError(f"the call was answered: {answer}")
