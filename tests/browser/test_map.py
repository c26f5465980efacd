"""The map shows every device, as it is now."""

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.city import City
from tests.browser.drawn import PLACE, go, icon, rendered, show_device, yellow_pixels
from tests.waiting import wait_for

LAMP, BAY = probe.DEVICES[:2]

# how many names of towns are shown, and how many pairs of them overlap
NAMES = """() => {
  const names = [...document.querySelectorAll('.place-name.below')];
  const shown = names.filter(name => name.offsetWidth && name.style.visibility !== 'hidden');
  const boxes = shown.map(name => name.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return [boxes.length, boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => meet(a, b))).length];
}"""


def drawn_devices(page: Page) -> int:
    """How many devices the map shows, each for itself, in clusters, or as towns."""
    return sum(d.get("point_count", 1) for d in rendered(page, "towns", "clusters", "devices"))


def test_every_registered_device_is_on_the_map(desk: Page, city: City) -> None:
    registered = city.rows("select count(*) from device")[0][0]
    assert registered == city.devices + len(probe.DEVICES)
    assert desk.locator("[data-map]").get_attribute("data-devices") == str(registered)
    expect(desk.locator("[data-count=devices]")).to_have_text(str(registered))
    wait_for(lambda: drawn_devices(desk) == registered, 30)


def test_from_afar_a_town_is_one_disc_with_its_name_and_a_click_leads_to_its_streets(desk: Page, city: City) -> None:
    towns = dict(city.rows("select municipality, count(*) from device group by 1"))
    go(desk, "#/map?m=10.50/37.67/126.73")
    wait_for(lambda: {d["code"]: d["point_count"] for d in rendered(desk, "towns")} == towns, 30)
    assert rendered(desk, "clusters", "devices") == []
    go(desk, "#/map?m=8.00/37.67/126.80")  # where names below their discs would cover each other
    wait_for(lambda: desk.evaluate(NAMES) == [len(towns), 0], 10)
    go(desk, "#/map?m=10.50/37.67/126.73")
    desk.get_by_role("button", name="Goyang-si", exact=True).click()
    wait_for(lambda: rendered(desk, "towns") == [] and len(rendered(desk, "devices")) > 5, 30)
    assert not any("point_count" in d for d in rendered(desk, "clusters", "devices"))


def test_a_map_that_comes_to_rest_does_not_lead_back_from_where_one_has_just_gone(desk: Page) -> None:
    expect(desk.locator("[data-map][data-ready=yes]")).to_be_visible()
    desk.evaluate("""() => {  // both before the browser tells of the new address
      const { map } = document.querySelector('[data-map]');
      location.hash = '#/detectors';
      map.jumpTo({ zoom: map.getZoom() + 0.25 });
    }""")
    expect(desk.get_by_role("heading", name="Detectors", exact=True).first).to_be_visible()


def test_a_click_beside_a_lamp_opens_it_even_while_the_map_is_reloading(desk: Page, city: City) -> None:
    lamp = city.device_id(probe.LAMP)
    show_device(desk, lamp, LAMP["latitude"], LAMP["longitude"])
    at = desk.evaluate(PLACE, lamp)
    desk.evaluate("""() => { const { map } = document.querySelector('[data-map]'); map.getSource('devices').setData(
        { type: 'FeatureCollection', features: [] }); }""")
    wait_for(lambda: rendered(desk, "devices") == [], 10)
    desk.mouse.click(at["x"] + 6, at["y"] - 5)
    expect(desk.locator(f"[data-panel='{lamp}'] h1")).to_have_text("Probe lamp")


def test_a_lamp_lights_up_on_the_screen_when_it_lights_up_in_the_street(desk: Page, city: City) -> None:
    assert city.probe
    city.probe.light("off")
    lamp = city.device_id(probe.LAMP)
    show_device(desk, lamp, LAMP["latitude"], LAMP["longitude"])
    wait_for(lambda: (icon(desk, lamp) or "").startswith("device|lamp|off|"), 30)
    desk.wait_for_timeout(1500)
    assert yellow_pixels(desk, lamp) == 0
    city.probe.light("on")
    wait_for(lambda: (icon(desk, lamp) or "").startswith("device|lamp|on|"), 30)
    wait_for(lambda: yellow_pixels(desk, lamp) > 30, 10)
    assert city.rows("select power_state from newest_streetlight where device_id = %s", lamp) == [(1,)]


def test_a_bay_is_taken_on_the_screen_when_a_car_parks(desk: Page, city: City) -> None:
    assert city.probe
    city.probe.say(probe.BAY, "parking_spot", status="free")
    bay = city.device_id(probe.BAY)
    show_device(desk, bay, BAY["latitude"], BAY["longitude"])
    wait_for(lambda: (icon(desk, bay) or "").startswith("device|bay|free|"), 30)
    city.probe.say(probe.BAY, "parking_spot", status="occupied")
    wait_for(lambda: (icon(desk, bay) or "").startswith("device|bay|occupied|"), 30)


def test_a_filter_leaves_only_what_it_names(desk: Page, city: City) -> None:
    bins = city.rows("select count(*) from device where kind = 'waste_container'")[0][0]
    go(desk, "#/map?kind=waste_container")
    wait_for(lambda: desk.locator("[data-map]").get_attribute("data-devices") == str(bins), 30)
    assert 0 < bins < city.devices
    wait_for(lambda: drawn_devices(desk) == bins, 30)


def test_searching_a_name_leads_to_its_device(desk: Page, city: City) -> None:
    desk.get_by_role("combobox", name="Search devices").fill("probe-l")
    desk.get_by_role("option").get_by_text("probe-lamp").click()
    expect(desk.locator(f"[data-panel='{city.device_id(probe.LAMP)}'] h1")).to_have_text("Probe lamp")
