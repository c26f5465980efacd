"""Planned work holds alarms back, says so where it does, and lets go of them when it ends."""

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.alarmed import raise_alarm, row_of, settle, state
from tests.browser.city import City
from tests.browser.drawn import go
from tests.waiting import wait_for

MARKED = """() => {
  const { data } = document.querySelector('[data-map]').map.getSource('maintained').serialize();
  return data.geometry ? data.geometry.coordinates.length : 0;
}"""


def test_planned_work_holds_an_alarm_back_until_it_is_ended_early(desk: Page, city: City) -> None:
    mast = city.device_id(probe.MAST)
    go(desk, "#/maintenance?municipality=41280")
    desk.get_by_role("button", name="Plan maintenance").first.click()
    dialog = desk.get_by_role("dialog")
    dialog.get_by_label("Scope").select_option("device")
    dialog.locator("[name=target]").fill(probe.MAST)
    dialog.locator("[name=from]").evaluate("""field => {
        field.value = new Date(Date.parse(field.value + 'Z') - 3600e3).toISOString().slice(0, 16);
        field.dispatchEvent(new Event('input', { bubbles: true })); }""")
    dialog.get_by_role("button", name="1 d").click()
    dialog.get_by_label("Reason").fill("a new lamp head")
    dialog.get_by_role("button", name="Plan", exact=True).click()
    window = desk.locator("li[data-window]", has_text="a new lamp head")
    expect(window).to_have_attribute("data-phase", "active")
    expect(window).to_contain_text(f"Device {probe.MAST}")
    alarm = raise_alarm(city, states=("suppressed",))
    go(desk, "#/alarms")
    expect(desk.get_by_role("tab", name="To do")).to_be_visible()
    expect(row_of(desk, alarm)).to_have_count(0)
    go(desk, f"#/alarms?tab=suppressed&alarm={alarm}")
    expect(row_of(desk, alarm)).to_have_attribute("data-alarm-state", "suppressed")
    expect(desk.locator(f"[data-alarm-panel='{alarm}'] a[data-window]")).to_contain_text("a new lamp head")
    go(desk, f"#/map?device={mast}")
    expect(desk.locator(f"[data-panel='{mast}'] a[data-window]")).to_contain_text("a new lamp head")
    expect(desk.locator(".chips a[data-window]")).to_contain_text(probe.MAST)
    wait_for(lambda: desk.evaluate(MARKED) == 1, 20)
    go(desk, "#/maintenance")
    window.get_by_role("button", name="End now").click()
    expect(window).to_have_attribute("data-phase", "over")
    wait_for(lambda: state(city, alarm)["state"] == "open", 60)
    window.get_by_role("button", name="Delete").click()
    window.get_by_role("button", name="Delete for good").click()
    expect(window).to_have_count(0)
    assert city.rows("select 1 from maintenance_window") == []
    settle(city, alarm)


def test_the_lamps_of_a_circuit_at_which_people_work_are_marked_on_the_map(desk: Page, city: City) -> None:
    assert city.probe
    now = city.probe.now_ms
    span = {"from": now - 3_600_000, "to": now + 86_400_000, "reason": "a new cable"}
    planned = {"municipality": probe.MUNICIPALITY, "scope": "circuit", "target": probe.CIRCUIT, **span}
    windows = f"{city.url}/api/v1/maintenance-windows"
    made = desk.request.post(windows, data=planned, headers={"X-Dure": "test"}).json()
    desk.reload()
    desk.wait_for_selector("[data-map][data-devices]")
    wait_for(lambda: desk.evaluate(MARKED) == len(probe.ROW), 60)
    desk.request.delete(f"{windows}/{made['window_id']}", headers={"X-Dure": "test"})
