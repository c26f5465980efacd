"""A whole circuit is one alarm: one row that unfolds, one count, its lamps ringed on the map."""

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.alarmed import row_of
from tests.browser.city import City
from tests.browser.drawn import go
from tests.waiting import wait_for

GROUP = "select alarm_id from alarm where group_key = %s and condition = 'out_of_range:voltage' and state = 'open'"
MEMBERS = "select alarm_id from alarm where parent_id = %s order by alarm_id desc"
RINGED = """() => {
  const { data } = document.querySelector('[data-map]').map.getSource('selected').serialize();
  return data.geometry ? data.geometry.coordinates.length : 0;
}"""


def test_a_circuit_is_one_alarm_that_unfolds_into_its_lamps(desk: Page, city: City) -> None:
    assert city.probe
    for _ in range(3):
        for lamp in probe.ROW:
            city.probe.light("on", device=lamp, voltage=290.0, after_s=10)
    group = int(wait_for(lambda: city.rows(GROUP, probe.CIRCUIT), 30)[0][0])
    wait_for(lambda: len(city.rows(MEMBERS, group)) == len(probe.ROW), 30)
    members = [int(found[0]) for found in city.rows(MEMBERS, group)]
    go(desk, "#/alarms?severity=3&detector=out_of_range")
    row = row_of(desk, group)
    expect(row).to_contain_text(f"Circuit {probe.CIRCUIT}")
    expect(row).to_contain_text("Streetlight, 6 of 6")
    for member in members:
        expect(row_of(desk, member)).to_have_count(0)
    row.get_by_role("button", name="Members").click()
    for member in members:
        expect(row_of(desk, member)).to_be_visible()
    row.locator("button.what").click()
    panel = desk.locator(f"[data-alarm-panel='{group}']")
    expect(panel.locator("[data-member]")).to_have_count(len(probe.ROW))
    wait_for(lambda: desk.evaluate(RINGED) == len(probe.ROW), 30)
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_have_attribute("data-alarm-state", "acknowledged")
    row.get_by_role("button", name="Members").click()
    for member in members:
        expect(row_of(desk, member)).to_have_count(0)
    panel.locator("[data-member]").first.click()
    expect(desk.get_by_role("button", name="Part of a group alarm").first).to_be_visible()
