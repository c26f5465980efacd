"""Alarms: seen at once, acknowledged and closed for everybody."""

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.city import City
from tests.browser.drawn import go, icon, show_device
from tests.waiting import wait_for

OPEN = """
select alarm_id from alarm
where device_id = %s and condition = 'out_of_range:voltage' and state in ('open', 'acknowledged')"""
STATE = "select state, acknowledged_by, closed_by, cause, comment from alarm where alarm_id = %s"


def raise_alarm(city: City) -> int:
    """Mains voltage far too high at the probe's lamp; the open alarm that comes of it."""
    assert city.probe
    lamp = city.device_id(probe.LAMP)
    for _ in range(3):
        city.probe.light("on", voltage=290.0, after_s=60)
    return int(wait_for(lambda: city.rows(OPEN, lamp), 30)[0][0])


def settle(city: City, alarm: int) -> None:
    """Voltage as it should be, until the alarm is no longer open."""
    assert city.probe
    for _ in range(8):
        city.probe.light("on", after_s=60)
    wait_for(lambda: city.rows(STATE, alarm)[0][0] in ("cleared", "closed"), 30)


def test_an_alarm_stands_out_on_the_map_as_soon_as_it_is_found(desk: Page, city: City) -> None:
    lamp = city.device_id(probe.LAMP)
    show_device(desk, lamp, probe.DEVICES[0]["latitude"], probe.DEVICES[0]["longitude"])
    alarm = raise_alarm(city)
    wait_for(lambda: (icon(desk, lamp) or "").endswith("|critical"), 30)
    settle(city, alarm)
    wait_for(lambda: not (icon(desk, lamp) or "|critical").endswith("|critical"), 30)


def test_an_alarm_acknowledged_in_the_list_is_acknowledged_in_the_database(desk: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(desk, "#/alarms")
    row = desk.locator(f"li[data-alarm='{alarm}']")
    expect(row).to_have_attribute("data-alarm-state", "open")
    assert city.rows(STATE, alarm)[0][:2] == ("open", None)
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_have_attribute("data-alarm-state", "acknowledged")
    assert city.rows(STATE, alarm)[0][:2] == ("acknowledged", city.name)
    settle(city, alarm)


def test_an_alarm_is_closed_with_the_keyboard_and_its_cause_is_kept(desk: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(desk, "#/alarms")
    desk.get_by_role("combobox", name="Severity").select_option("3")
    row = desk.locator(f"li[data-alarm='{alarm}']")
    expect(row).to_be_visible()
    desk.locator("h1", has_text="Alarms").click()
    for _ in range(int(row.get_attribute("data-row") or 0) + 1):
        desk.keyboard.press("j")
    desk.keyboard.press("c")
    desk.get_by_label("Planned work").check()
    desk.get_by_label("Comment").fill("transformer exchanged")
    desk.get_by_role("dialog").get_by_role("button", name="Close alarm").click()
    expect(row).to_have_count(0)
    assert city.rows(STATE, alarm)[0] == ("closed", None, city.name, "planned_work", "transformer exchanged")
    settle(city, alarm)


def test_one_click_leads_from_an_alarm_to_the_chart_of_its_device(desk: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(desk, "#/alarms")
    desk.locator(f"li[data-alarm='{alarm}'] button.what").click()
    expect(desk.locator(f"[data-panel='{city.device_id(probe.LAMP)}'] [data-chart=voltage] canvas")).to_be_visible()
    settle(city, alarm)
