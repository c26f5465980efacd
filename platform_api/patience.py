"""A streaming answer that gives up on a client that reads nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Send


class Patient(StreamingResponse):
    """Ends, with what it streams from, after `stall_s` in which the client took nothing."""

    def __init__(
        self, content: AsyncIterator[bytes], stall_s: float, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(content, media_type=media_type, headers=dict(headers))
        self._stall_s = stall_s

    async def stream_response(self, send: Send) -> None:
        async def patient(message: Any) -> None:
            try:
                await asyncio.wait_for(send(message), self._stall_s)
            except TimeoutError:
                raise OSError("the client reads nothing") from None  # the server closes the connection

        try:
            await super().stream_response(patient)
        finally:
            if hasattr(self.body_iterator, "aclose"):
                await self.body_iterator.aclose()
