"""`dure screenshots`: pictures of the running dashboard, for the README and to look at: map, street, device, alarms,
one alarm, detectors and maintenance; desk and phone, Korean and English, light and dark.

It signs in like anybody else, by itself where a demo runs in this checkout, and shows a device that has an alarm, when
there is one. Needs Chromium and the `playwright` package; draws in software, so it works on a machine without a screen.
"""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import json
import os
import shutil
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# Software WebGL; and no calls of the browser's own to its maker.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
SIZES = {1440: 900, 390: 844}
SETTLE_MS = 1500
WAIT_MS = 90_000
ALARMED_MS = (30 * 60_000, 16 * 3_600_000)  # an alarm that the picture's day shows well
DEMOS = Path(__file__).parents[1] / ".dure" / "demo"
PLAYWRIGHT = "dure screenshots: needs the playwright package: `./run test` installs it, or `pip install playwright`"


@dataclass(frozen=True)
class Picture:
    """One file: which view, how wide, in which language and appearance."""

    view: str
    width: int
    language: str
    theme: str = "light"

    def look(self) -> tuple[int, str, str]:
        """How a browser is opened for it."""
        return self.width, self.language, self.theme

    @property
    def file(self) -> str:
        return f"{self.view}-{self.language}-{self.width}{'-dark' if self.theme == 'dark' else ''}.png"


@dataclass(frozen=True)
class Demo:
    """Where a running demo can be reached, and who may sign in there: passwords by name, an operator first."""

    url: str
    passwords: dict[str, str]


def pictures() -> list[Picture]:
    """All of them."""
    views = ("map", "device", "alarms", "alarm", "detectors", "maintenance")
    light = [Picture(view, width, language) for view in views for width in SIZES for language in ("ko", "en")]
    street = [Picture("street", 1440, "ko"), Picture("street", 1440, "en", "dark")]
    dark = [Picture("map", 1440, "ko", "dark"), Picture("alarm", 1440, "ko", "dark")]
    return [*light, *street, *dark, Picture("device", 390, "en", "dark"), Picture("detectors", 390, "ko", "dark")]


def chromium_path() -> str | None:
    """The browser of this machine; DURE_CHROMIUM names another."""
    return os.environ.get("DURE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def open_page(browser: Browser, width: int, language: str, theme: str) -> Page:
    """A page of that width, language and appearance, in a context of its own."""
    phone = width < 720
    context = browser.new_context(
        viewport={"width": width, "height": SIZES.get(width, 900)},
        device_scale_factor=2 if phone else 1,
        is_mobile=phone,
        has_touch=phone,
        color_scheme="dark" if theme == "dark" else "light",
        locale="ko-KR" if language == "ko" else "en-GB",
        reduced_motion="reduce",
    )
    context.add_init_script(f"localStorage.setItem('dure.language', '{language}')")
    return context.new_page()


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    """Through the form, until the map is drawn."""
    page.goto(url)
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.click("form button")
    page.wait_for_selector("[data-map][data-ready=yes][data-devices]", timeout=WAIT_MS)


def device_to_show(page: Page, url: str) -> tuple[dict[str, Any], int | None]:
    """A device with an open alarm on one of its quantities, and that alarm: the worst that has been open for a while,
    so that the chart shows where it began and how it went on; else one that was alarmed; else the first lamp there is.
    """
    for states in ("open,acknowledged", "cleared"):
        alarms = page.request.get(f"{url}/api/v1/alarms?state={states}&limit=500").json()["items"]
        told = [a for a in alarms if a["device_id"] and a["property"]]
        if not told:
            continue
        newest = max(a["last_finding_at"] for a in told)
        worst = max(
            told, key=lambda a: (ALARMED_MS[0] < newest - a["opened_at"] < ALARMED_MS[1], a["severity"], a["opened_at"])
        )
        found: dict[str, Any] = page.request.get(f"{url}/api/v1/devices/{worst['device_id']}").json()
        return found, worst["alarm_id"]
    first: dict[str, Any] = page.request.get(f"{url}/api/v1/devices?kind=streetlight&limit=1").json()["items"][0]
    return first, None


def show(page: Page, view: str, device: dict[str, Any], alarm_id: int | None) -> None:
    """Go to the view and wait until it is drawn."""
    place = f"15.60/{device['latitude']:.5f}/{device['longitude']:.5f}"
    target = {
        "map": "#/map",
        "street": f"#/map?m={place}",
        "device": f"#/map?device={device['device_id']}&span=24h&m={place}",
        "alarm": f"#/alarms?alarm={alarm_id}&m={place}" if alarm_id else "#/alarms",
    }
    page.evaluate("hash => { location.hash = hash }", target.get(view, f"#/{view}"))
    if view == "alarm" and alarm_id:
        page.wait_for_selector("[data-alarm-chart] canvas, [data-alarm-chart] [data-band]", timeout=WAIT_MS)
    if view == "device":
        page.wait_for_selector("[data-chart] canvas, [data-band]", timeout=WAIT_MS)
        for alarm in device["open_alarms"]:  # its chart shall be in the picture, with what stands above it
            chart = page.locator(f"[data-chart='{alarm['condition'].rpartition(':')[2]}']")
            if chart.count():
                chart.evaluate("chart => chart.scrollIntoView({ block: 'end' })")
    page.wait_for_timeout(SETTLE_MS)
    page.wait_for_selector("[data-map][data-ready=yes]", timeout=WAIT_MS)


def take(url: str, out: Path, name: str, password: str, chromium: str) -> list[Path]:
    """Take every picture; the files written."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        shown = None  # the same device and alarm on all of them
        for look, of_look in groupby(sorted(pictures(), key=Picture.look), key=Picture.look):
            page = open_page(browser, *look)
            sign_in(page, url, name, password)
            shown = shown or device_to_show(page, url)
            for picture in of_look:
                show(page, picture.view, *shown)
                page.screenshot(path=out / picture.file)
                print(out / picture.file, flush=True)
                taken.append(out / picture.file)
            page.context.close()
        browser.close()
    return taken


def running_demo(folder: Path | None) -> Demo | None:
    """The demo that runs in that folder; without one, what runs in this checkout. None when there is none."""
    folders = [folder] if folder else sorted(DEMOS.glob("*"))
    for each in folders:
        if (file := each / "now.json").exists():
            now = json.loads(file.read_text())
            accounts = sorted(now["accounts"], key=lambda one: one["role"] != "operator")
            return Demo(now["url"], {one["name"]: one["password"] for one in accounts})
    return None


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure screenshots",
        description="Take the pictures of the running dashboard: map, street, device, alarms, one alarm, detectors and "
        "maintenance, at desk and phone width, in Korean and English, light and dark.",
        epilog="Beside a running demo it needs no option: address, account and password are the demo's. Elsewhere: "
        "dure screenshots --url https://dure.example --account minji",
    )
    parser.add_argument("--state", type=Path, help="folder of a running demo (default: what runs in this checkout)")
    parser.add_argument("--url", help="where the dashboard is (default: the demo's)")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/images"), help="folder for the pictures (default: %(default)s)"
    )
    parser.add_argument("--account", help="who signs in (default: the demo's operator, who sees one town)")
    parser.add_argument("--password-file", help="read it from FILE, or - for stdin (default: the demo's, else ask)")
    parser.add_argument("--chromium", help="the browser (default: DURE_CHROMIUM, else the machine's chromium)")
    options = parser.parse_args(argv)
    chromium = options.chromium or chromium_path()
    if chromium is None:
        print("dure screenshots: no Chromium found; on Debian: apt-get install chromium", file=sys.stderr)
        return 1
    if importlib.util.find_spec("playwright") is None:
        print(PLAYWRIGHT, file=sys.stderr)
        return 1
    demo = None if options.url else running_demo(options.state)  # a demo's password goes to that demo only
    passwords = demo.passwords if demo else {}
    url = demo.url if demo else options.url
    account = options.account or next(iter(passwords), None)
    if url is None or account is None:
        where = f"in {options.state}" if options.state else "in this checkout"
        print(f"dure screenshots: no demo runs {where}; say where the city is: --url and --account", file=sys.stderr)
        return 1
    if options.password_file is None:
        password = passwords.get(account) or getpass.getpass(f"password of {account}: ")
    elif options.password_file == "-":
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = Path(options.password_file).read_text().strip()
    take(url.rstrip("/"), options.out, account, password, chromium)
    return 0
