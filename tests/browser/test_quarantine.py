"""Quarantine is narrowed by the platform, not among the rows that happen to be loaded."""

from playwright.sync_api import Page, expect

from tests.browser.city import City
from tests.browser.drawn import go
from tests.waiting import wait_for

ITEM = "select quarantine_id from quarantine where reason = 'unknown_device'"


def test_a_reason_in_the_address_narrows_the_quarantine(desk: Page, city: City) -> None:
    assert city.probe
    city.probe.light("on", device="nobody-knows-it")
    item = wait_for(lambda: city.rows(ITEM), 30)[0][0]
    with desk.expect_response(lambda r: "/quarantine?" in r.url and "reason=unknown_device" in r.url) as answered:
        go(desk, "#/quarantine?reason=unknown_device")
    assert {found["reason"] for found in answered.value.json()["items"]} == {"unknown_device"}
    expect(desk.locator(f"li[data-quarantine='{item}']")).to_be_visible()
    desk.get_by_role("combobox", name="Reason").select_option("too_large")
    expect(desk.locator(f"li[data-quarantine='{item}']")).to_have_count(0)
    assert "reason=too_large" in desk.url
