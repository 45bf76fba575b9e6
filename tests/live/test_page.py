"""The fleet's page in a real browser: what it shows of a real sidecar's incident, and whether everybody can use it."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

import aiomqtt
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from connectors.web.server import FleetPage, PageSettings
from engine.facts.timestamps import SECOND
from engine.fleet.view import FleetView
from engine.messages.cloudevents import StatusData, alert_event, status_event
from tests.clocks import SYSTEM
from tests.lab import faults
from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.live.conftest import Watch

pytestmark = pytest.mark.live

TOKEN = "a token of the test"
WITHIN_S = 10.0
TITLE = {"title": "A container is dead"}
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1280,900",
)  # fmt: skip
"""As root, and without looking for anything outside this machine."""


class Sender:
    """Takes commands in the page's stead."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    async def send(self, **command: Any) -> Mapping[str, Any]:
        """See `CommandSender`."""
        self.sent.append(command)
        return {"ok": True}


class Shown:
    """A page that is served, and the fleet behind it."""

    def __init__(self, view: FleetView, page: FleetPage, sender: Sender) -> None:
        self.view = view
        self.page = page
        self.sender = sender

    @property
    def url(self) -> str:
        """On loopback."""
        return f"http://127.0.0.1:{self.page.port}/"

    def apply(self, topic: str, payload: bytes) -> None:
        """A message arrives."""
        self.view.apply(topic, payload, SYSTEM.wall())
        self.page.changed()

    def fill(self, number: int) -> None:
        """Hosts, each with two alerts that fire."""
        now = SYSTEM.wall()
        for index in range(number):
            host = f"web-{index:04}"
            status = status_event(StatusData(state="online", host=host, version="1", mode="act"), at=now, event_id="1")
            self.apply(status.topic, status.payload)
            for key in ("a", "b"):
                row = alert_event(
                    host=host, rule="dead-container", key=key, status="firing", severity="error", seq=1, starts_at=now - SECOND,
                    updated_at=now, summary=f"container <script>alert(1)</script> of {host}", annotations=TITLE,
                )  # fmt: skip
                self.apply(row.topic, row.payload)


@pytest.fixture
async def shown() -> AsyncIterator[Shown]:
    """A page on a free port."""
    view, sender = FleetView(), Sender()
    tokens = {hashlib.sha256(TOKEN.encode()).hexdigest(): "kim"}
    page = FleetPage(view, settings=PageSettings(port=0, tokens=tokens), clock=SYSTEM, sender=sender)
    task = asyncio.create_task(page.run(), name="page")
    async with asyncio.timeout(WITHIN_S):
        await page.listening.wait()
    yield Shown(view, page, sender)
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Debian's Chromium, headless."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


async def wait(browser: webdriver.Chrome, script: str) -> Any:
    """Until a script of the page is true."""
    return await asyncio.to_thread(
        lambda: WebDriverWait(browser, WITHIN_S, 0.05).until(lambda it: it.execute_script(f"return {script}"))
    )


async def accessible(browser: webdriver.Chrome) -> list[str]:
    """What axe finds wrong with what is shown, one line each."""

    def run() -> list[str]:
        browser.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text())
        found = browser.execute_async_script("const done = arguments[0]; axe.run(document).then(done, done);")
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]

    return await asyncio.to_thread(run)


async def test_a_real_incident_appears_opens_and_goes(
    shown: Shown, browser: webdriver.Chrome, engine: ScratchEngine, broker: ScratchBroker, watch: Watch, host: str
) -> None:
    """A container that cannot be deleted: the incident comes by itself, opens by keyboard, and goes when it is repaired."""

    async def follow() -> None:
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.subscribe(f"dockwarden/{host}/#", qos=1)
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                shown.apply(str(message.topic), message.payload)

    following = asyncio.create_task(follow(), name="fleet")
    try:
        async with watch(engine) as seen:
            await asyncio.to_thread(browser.get, shown.url)
            await wait(browser, "document.querySelector('.empty')?.textContent.includes('All is well')")
            async with faults.dead_containers(engine):
                await seen.alert("dead-container")
                await wait(browser, "document.querySelectorAll('.card').length > 0")
                assert host in await asyncio.to_thread(lambda: browser.find_element(By.CSS_SELECTOR, ".card").text)
                body = browser.find_element(By.TAG_NAME, "body")
                await asyncio.to_thread(body.send_keys, "j", Keys.ENTER)
                await wait(browser, "document.querySelectorAll('svg.timeline circle').length >= 2")
                assert await accessible(browser) == []
            await seen.alert("dead-container", "resolved", within_s=60)
            await wait(browser, "document.querySelector('.empty')?.textContent.includes('is over')")
    finally:
        following.cancel()
        await asyncio.wait({following})


async def test_five_thousand_hosts_are_a_short_list_with_true_counts(
    shown: Shown, browser: webdriver.Chrome, record_property: Callable[[str, object], None]
) -> None:
    """The list is bounded, whatever the fleet; the paint timing that the browser keeps (W3C) goes into the report."""
    shown.fill(5_000)
    await asyncio.to_thread(browser.get, shown.url)
    paint = await wait(browser, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    record_property("first_contentful_paint_ms", paint)
    await wait(browser, "document.querySelectorAll('.card').length === 200")
    assert await wait(browser, "document.querySelector('[data-count=error] b').textContent === '10000'")
    assert "<script>" in await asyncio.to_thread(lambda: browser.find_element(By.CSS_SELECTOR, ".card").text)


async def test_updates_are_coalesced(shown: Shown, browser: webdriver.Chrome) -> None:
    """Thousands of messages in a second are a handful of requests of the page."""
    shown.fill(10)
    await asyncio.to_thread(browser.get, shown.url)
    await wait(browser, "document.querySelectorAll('.card').length === 20")
    count = "performance.getEntriesByType('resource').filter(it => it.name.includes('/api/incidents')).length"
    before = await wait(browser, count)
    started = time.monotonic()
    for _ in range(20):
        shown.fill(100)
        await asyncio.sleep(0.02)
    await wait(browser, "document.querySelector('[data-count=error] b').textContent === '200'")
    after = await wait(browser, count)
    assert after - before <= 3 + (time.monotonic() - started)


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 390), (True, 390)])
async def test_everybody_can_use_it(shown: Shown, browser: webdriver.Chrome, dark: bool, width: int) -> None:
    """Light and dark, desk and phone: axe finds nothing, nothing is wider than the screen, and the console is silent."""
    shown.fill(3)
    mode = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    await asyncio.to_thread(browser.execute_cdp_cmd, "Emulation.setEmulatedMedia", mode)
    await asyncio.to_thread(browser.execute_cdp_cmd, "Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium
    try:
        for path, ready in (
            ("", ".card"),
            ("?view=hosts", "tbody tr"),
            ("?incident=web-0000%2Fdead-container%2Fa", "svg.timeline"),
            ("?q=nothing-is-called-so", ".empty"),
        ):
            await asyncio.to_thread(browser.get, shown.url + path)
            await wait(browser, f"document.querySelector({json.dumps(ready)}) && document.querySelector('.numbers a')")
            assert await accessible(browser) == [], path
            assert await wait(browser, "document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
        log = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium
        noise = [entry["message"] for entry in log if "/api/runbook" not in entry["message"]]
        assert noise == []
    finally:
        await asyncio.to_thread(browser.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})


async def test_a_token_lets_its_owner_acknowledge_with_a_reason(shown: Shown, browser: webdriver.Chrome) -> None:
    """Without one there is no button; with it the command names who, where, what and why."""
    shown.fill(1)
    await asyncio.to_thread(browser.get, shown.url + "?incident=web-0000%2Fdead-container%2Fa")
    await wait(browser, "document.querySelector('svg.timeline')")
    assert not browser.find_elements(By.CSS_SELECTOR, ".panel .buttons button")
    await wait(browser, "!document.getElementById('login').hidden")
    browser.find_element(By.ID, "login").click()
    browser.find_element(By.ID, "token").send_keys(TOKEN, Keys.ENTER)
    await wait(browser, "document.querySelector('.panel .buttons button')")
    browser.find_element(By.CSS_SELECTOR, ".panel .buttons button").click()
    browser.find_element(By.ID, "reason").send_keys("I am on it", Keys.ENTER)
    await wait(browser, "document.getElementById('announce').textContent.includes('done')")
    (sent,) = shown.sender.sent
    assert sent["operator"] == "kim"
    assert (sent["name"], sent["host"]) == ("ack", "web-0000")
    assert sent["params"] == {"rule": "dead-container", "key": "a", "reason": "I am on it"}


async def test_filters_fake_program_the_url(shown: Shown, browser: webdriver.Chrome) -> None:
    """What one sees can be sent to a colleague; going back works."""
    shown.fill(3)
    await asyncio.to_thread(browser.get, shown.url)
    await wait(browser, "document.querySelectorAll('.card').length === 6")
    await asyncio.to_thread(browser.find_element(By.TAG_NAME, "body").send_keys, "/")
    await asyncio.to_thread(browser.switch_to.active_element.send_keys, "web-0001")
    await wait(browser, "document.querySelectorAll('.card').length === 2")
    assert "q=web-0001" in browser.current_url
    await asyncio.to_thread(browser.get, browser.current_url)
    await wait(browser, "document.querySelectorAll('.card').length === 2")
    await asyncio.to_thread(browser.find_element(By.CSS_SELECTOR, "[data-count=critical]").click)
    await wait(browser, "document.querySelector('.empty')")
    await asyncio.to_thread(browser.back)
    await wait(browser, "document.querySelectorAll('.card').length === 2")
