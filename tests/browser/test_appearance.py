"""Both languages, both appearances, both widths."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.alarmed import raise_alarm, row_of, settle
from tests.browser.city import City
from tests.browser.conftest import Watch
from tests.browser.drawn import go

PLACES = ("map", "alarms", "detectors", "maintenance", "agents", "quarantine", "status")
# A phone's browser widens its window to what overflows, so the glass is the measure; the body hides its own overflow.
OVERFLOW = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - screen.width"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def test_one_press_changes_the_language_and_a_reload_keeps_it(desk: Page) -> None:
    expect(desk.get_by_role("navigation")).to_contain_text("Alarms")
    desk.get_by_role("button", name="한국어").first.click()
    expect(desk.get_by_role("navigation")).to_contain_text("경보")
    assert desk.evaluate("document.documentElement.lang") == "ko"
    assert desk.evaluate("localStorage.getItem('dure.language')") == "ko"


def test_one_press_turns_day_into_night_and_a_reload_keeps_it(desk: Page) -> None:
    day = desk.evaluate(BACKGROUND)
    desk.get_by_role("button", name="Appearance: Dark").first.click()
    night = desk.evaluate(BACKGROUND)
    assert day != night
    desk.reload()
    expect(desk.locator("[data-map]")).to_be_visible()
    assert desk.evaluate(BACKGROUND) == night


@pytest.mark.parametrize("place", PLACES)
def test_nothing_overflows_a_phone_sideways(phone: Page, place: str) -> None:
    go(phone, f"#/{place}")
    phone.wait_for_timeout(800)
    assert phone.evaluate(OVERFLOW) <= 0
    box = phone.get_by_role("navigation", name="화면").bounding_box()
    assert box and box["y"] > 700, "places are within reach of a thumb"


def test_a_device_fills_a_phone_without_overflowing_it(phone: Page, city: City) -> None:
    go(phone, f"#/map?device={city.device_id(probe.LAMP)}")
    expect(phone.locator("[data-chart=voltage]")).to_be_attached()
    assert phone.evaluate(OVERFLOW) <= 0
    panel = phone.locator("[data-panel]").bounding_box()
    assert panel and panel["width"] == 390
    phone.get_by_role("button", name="닫기").click()
    expect(phone.locator("[data-panel]")).to_have_count(0)


def test_an_alarm_fills_a_phone_without_overflowing_it(phone: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(phone, f"#/alarms?alarm={alarm}")
    expect(phone.locator("[data-alarm-chart] [data-chart=voltage]")).to_be_attached()
    assert phone.evaluate(OVERFLOW) <= 0
    phone.locator("[data-alarm-panel]").get_by_role("button", name="확인").click()
    expect(phone.locator("[data-alarm-panel]")).to_have_attribute("data-alarm-state", "acknowledged")
    phone.get_by_role("button", name="닫기").click()
    expect(row_of(phone, alarm)).to_be_visible()
    settle(city, alarm)


def test_every_place_is_shown_without_an_error_and_without_leaving_the_origin(desk: Page, watch: Watch) -> None:
    for place, title in zip(
        PLACES[1:], ("Alarms", "Detectors", "Maintenance", "Agents", "Quarantine", "Status"), strict=True
    ):
        go(desk, f"#/{place}")
        expect(desk.get_by_role("heading", name=title, exact=True).first).to_be_visible()
    assert watch.requests > 10, "the watch saw nothing"


def test_agents_are_listed_with_what_was_committed(desk: Page, city: City) -> None:
    go(desk, "#/agents")
    expect(desk.locator("[data-agent]")).to_have_count(city.agents + 1)
    expect(desk.locator("[data-agent=pole-01]")).to_have_attribute("data-agent-state", "ok")
