"""Gives each request an id, so that what it enqueues can be found by it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from ...jobs import new_id
from . import request_id

HEADER = "X-Request-ID"
# What a proxy may have given. Anything else would end in logs, and is from whoever asks.
RIGHT = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")


class RequestIdMiddleware:
    """``request_id`` is that of the header X-Request-ID, or a new one; the response has it too."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if self._is_async:
            return self._acall(request)
        token = request_id.set(_id_of(request))
        try:
            return _marked(self._get_response(request))
        finally:
            request_id.reset(token)

    async def _acall(self, request: HttpRequest) -> HttpResponse:
        token = request_id.set(_id_of(request))
        try:
            return _marked(await self._get_response(request))
        finally:
            request_id.reset(token)


def _id_of(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    return given if RIGHT.fullmatch(given) else new_id()


def _marked(response: HttpResponse) -> HttpResponse:
    response.headers.setdefault(HEADER, request_id.get())
    return response
