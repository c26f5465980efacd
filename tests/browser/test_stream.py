"""A map whose stream has stopped says so."""

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.city import City
from tests.browser.conftest import Watch
from tests.browser.drawn import icon, show_device
from tests.waiting import wait_for


def test_the_banner_appears_when_the_platform_dies_and_goes_when_it_is_back(
    desk: Page, city: City, watch: Watch
) -> None:
    assert city.probe
    watch.forgiving = True
    lamp = city.device_id(probe.LAMP)
    city.probe.light("off")
    show_device(desk, lamp, probe.DEVICES[0]["latitude"], probe.DEVICES[0]["longitude"])
    wait_for(lambda: "|off|" in (icon(desk, lamp) or ""), 30)
    banner = desk.locator("[data-banner=stale]")
    expect(banner).to_have_count(0)
    city.kill("api")
    try:
        expect(banner).to_be_visible()
        expect(desk.locator("[data-feed]")).to_have_attribute("data-feed", "stale")
        city.probe.light("on")  # while nobody looks
    finally:
        city.start_api()
    expect(banner).to_have_count(0, timeout=60_000)
    wait_for(lambda: "|on|" in (icon(desk, lamp) or ""), 30)
