"""Alarms: seen at once, filtered by the platform, worked off with the keyboard, the same for everybody."""

import re

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.alarmed import raise_alarm, row_of, settle, state
from tests.browser.city import City
from tests.browser.drawn import go, icon, show_device
from tests.waiting import wait_for

BAND_PIXELS = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let dashes = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [red, green, blue, alpha] = data.slice(i, i + 4);
    if (red < 90 && green > 120 && green < 185 && blue > 70 && blue < 145 && alpha > 120) dashes += 1;
  }
  return dashes;
}"""


def test_an_alarm_stands_out_on_the_map_as_soon_as_it_is_found(desk: Page, city: City) -> None:
    lamp, where = city.device_id(probe.MAST), probe.DEVICES[2]
    show_device(desk, lamp, where["latitude"], where["longitude"])
    alarm = raise_alarm(city)
    wait_for(lambda: (icon(desk, lamp) or "").endswith("|critical"), 30)
    settle(city, alarm)
    wait_for(lambda: not (icon(desk, lamp) or "|critical").endswith("|critical"), 30)


def test_an_alarm_acknowledged_in_the_list_is_acknowledged_in_the_database(desk: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(desk, "#/alarms")
    row = row_of(desk, alarm)
    expect(row).to_have_attribute("data-alarm-state", "open")
    assert state(city, alarm)["acknowledged_by"] is None
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_have_attribute("data-alarm-state", "acknowledged")
    assert (state(city, alarm)["state"], state(city, alarm)["acknowledged_by"]) == ("acknowledged", city.name)
    settle(city, alarm)


def test_filters_stand_in_the_address_and_the_platform_does_the_filtering(desk: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(desk, "#/alarms")
    expect(row_of(desk, alarm)).to_be_visible()
    with desk.expect_response(re.compile(r"/alarms\?.*detector=stuck.*limit=100")) as answered:
        desk.get_by_role("combobox", name="Condition").select_option("stuck")
    assert all(item["detector"] == "stuck" for item in answered.value.json()["items"])
    expect(row_of(desk, alarm)).to_have_count(0)
    assert "detector=stuck" in desk.url
    with desk.expect_response(
        re.compile(r"/alarms\?(?!.*device_id).*severity=3.*detector=out_of_range.*limit=100")
    ) as answered:
        go(desk, "#/alarms?severity=3&detector=out_of_range")
    assert {(item["severity"], item["detector"]) for item in answered.value.json()["items"]} == {(3, "out_of_range")}
    expect(row_of(desk, alarm)).to_be_visible()
    desk.reload()
    expect(row_of(desk, alarm)).to_be_visible()
    expect(desk.get_by_role("combobox", name="Condition")).to_have_value("out_of_range")
    go(desk, "#/alarms?assigned=nobody-of-that-name")
    expect(desk.get_by_text("No alarm matches the filter.")).to_be_visible()
    settle(city, alarm)


def test_one_click_leads_to_the_evidence_with_the_expected_band_drawn(desk: Page, city: City) -> None:
    alarm = raise_alarm(city)
    go(desk, "#/alarms")
    row_of(desk, alarm).locator("button.what").click()
    panel = desk.locator(f"[data-alarm-panel='{alarm}']")
    evidence = panel.locator("[data-evidence]")
    expect(evidence).to_contain_text("290.0 V")
    expect(evidence).to_contain_text("187.0 V – 253.0 V")
    expect(evidence).to_contain_text("+37.0 V")
    expect(evidence).to_contain_text("Out of range")
    canvas = panel.locator("[data-chart=voltage] canvas")
    wait_for(lambda: canvas.count() and canvas.evaluate(BAND_PIXELS) > 40, 30)
    panel.get_by_role("button", name="Device", exact=True).click()
    expect(desk.locator(f"[data-panel='{city.device_id(probe.MAST)}'] [data-chart=voltage] canvas")).to_be_visible()
    settle(city, alarm)


def test_an_alarm_lives_from_the_keyboard_and_the_trust_page_counts_what_it_was(desk: Page, city: City) -> None:
    detector = desk.locator("[data-detector=out_of_range]")
    go(desk, "#/detectors")
    alarm = raise_alarm(city)
    expect(detector).to_be_visible()
    before = int(detector.get_attribute("data-false") or 0)
    go(desk, "#/alarms?severity=3&detector=out_of_range")
    row = row_of(desk, alarm)
    expect(row).to_be_visible()
    desk.locator("h1", has_text="Alarms").click()
    for _ in range(int(row.get_attribute("data-row") or 0) + 1):
        desk.keyboard.press("j")
    expect(row).to_have_attribute("aria-current", "true")
    desk.keyboard.press("a")
    expect(row).to_have_attribute("data-alarm-state", "acknowledged")
    desk.keyboard.press("s")
    dialog = desk.get_by_role("dialog")
    dialog.get_by_role("radio", name=city.name).check()
    dialog.get_by_role("button", name="Assign alarm").click()
    expect(dialog).to_have_count(0)
    expect(row).to_contain_text(city.name)
    desk.keyboard.press("c")
    dialog.get_by_label("Comment").fill("no neighbour sees it")
    dialog.get_by_role("button", name="Add a comment").click()
    expect(dialog).to_have_count(0)
    desk.keyboard.press("Enter")
    panel = desk.locator(f"[data-alarm-panel='{alarm}']")
    expect(panel.locator("[data-event=commented]")).to_contain_text("no neighbour sees it")
    expect(panel.locator("[data-assignee]")).to_have_text(city.name)
    desk.keyboard.press("x")
    dialog.get_by_label("False alarm").check()
    dialog.get_by_label("Comment").fill("the meter was exchanged")
    dialog.get_by_role("button", name="Close alarm").click()
    expect(row).to_have_count(0)
    expect(panel).to_have_attribute("data-alarm-state", "closed")
    expect(panel.locator("[data-event=closed]")).to_contain_text("the meter was exchanged")
    events = panel.locator("[data-event]").evaluate_all("all => all.map(event => event.dataset.event)")
    assert events[-4:] == ["acknowledged", "assigned", "commented", "closed"]
    name = city.name
    assert list(state(city, alarm).values()) == ["closed", name, name, name, "false", "the meter was exchanged"]
    go(desk, "#/detectors")
    expect(detector).to_have_attribute("data-false", str(before + 1))
    settle(city, alarm)


def test_several_alarms_are_acknowledged_at_once(desk: Page, city: City) -> None:
    first = raise_alarm(city)
    assert city.probe
    city.probe.light("on", device=probe.MAST, voltage=290.0, watts=500.0, after_s=60)
    watts = "select alarm_id from alarm where condition = 'out_of_range:power_consumption' and state = 'open'"
    second = int(wait_for(lambda: city.rows(watts), 30)[0][0])
    go(desk, "#/alarms?detector=out_of_range")
    for alarm in (first, second):
        row_of(desk, alarm).get_by_role("checkbox").click()
    bar = desk.get_by_role("toolbar", name="2 chosen")
    bar.get_by_role("button", name="Acknowledge").click()
    for alarm in (first, second):
        expect(row_of(desk, alarm)).to_have_attribute("data-alarm-state", "acknowledged")
        assert state(city, alarm)["acknowledged_by"] == city.name
    settle(city, first)
    settle(city, second)
