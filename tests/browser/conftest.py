from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client

from tests.support import browsers

WIDTH, HEIGHT = 1400, 1000
STATIC = Path(__file__).parents[2] / "docs" / "_static"


@pytest.fixture(scope="module")  # no longer: while it is there, this thread has an event loop that runs
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright is not installed (dependency group browser)")
    # Nothing of Django's runs in that loop.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        try:
            path = browsers.chromium(playwright)
        except LookupError as error:
            _missing(str(error))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=120_000)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def opened(chromium: Any, live_server: Any, transactional_db: None, settings: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page of the admin as a superuser: ``opened(address, theme="dark", javascript=False)``.

    At its end no page may have logged an error; what the policy for content forbids is one.
    """
    settings.MIDDLEWARE = [*django_settings.MIDDLEWARE, "tests.support.csp.self_only"]
    client = Client()
    client.force_login(User.objects.create_superuser("ann"))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    contexts, errors = [], []

    def open_(address: str, *, theme: str = "light", javascript: bool = True) -> Any:
        context = chromium.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme=theme,
            java_script_enabled=javascript,
            locale="en-GB",
            timezone_id="Europe/London",
        )
        contexts.append(context)
        context.add_cookies([cookie])
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{live_server.url}{address}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def photographed() -> Callable[[Any, str], None]:
    """Renews a picture of the documentation, when TASKQ_TEST_SCREENSHOTS is set."""

    def photograph(page: Any, name: str) -> None:
        if os.environ.get("TASKQ_TEST_SCREENSHOTS"):
            STATIC.mkdir(exist_ok=True)
            page.locator("#content").screenshot(path=STATIC / f"{name}.png")

    return photograph
