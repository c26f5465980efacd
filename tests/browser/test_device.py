"""From a shape on the map to the chart that explains it."""

from playwright.sync_api import Page, expect

from tests.browser import probe
from tests.browser.city import City
from tests.browser.conftest import Watch
from tests.browser.drawn import PLACE, go, show_device
from tests.waiting import wait_for

LINE_PIXELS = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let blue = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i] < 60 && data[i + 2] > 130 && data[i + 3] > 128) blue += 1;
  return blue;
}"""


def line_pixels(page: Page, name: str) -> int:
    """Pixels of the observed line on a property's chart."""
    return int(page.locator(f"[data-chart={name}] canvas").evaluate(LINE_PIXELS))


def test_a_click_on_a_shape_opens_its_device_with_its_history_drawn(desk: Page, city: City) -> None:
    assert city.probe
    for k in range(30):
        city.probe.light("on", after_s=60, voltage=220.0 + k % 5)
    lamp = city.device_id(probe.LAMP)
    show_device(desk, lamp, probe.DEVICES[0]["latitude"], probe.DEVICES[0]["longitude"])
    panel = desk.locator(f"[data-panel='{lamp}']")

    def opened_by_a_click() -> bool:
        """A click that meets the map between two of its updates hits nothing; people click again, too."""
        at = desk.evaluate(PLACE, lamp)
        desk.mouse.click(at["x"], at["y"])
        desk.wait_for_timeout(400)
        return panel.is_visible()

    wait_for(opened_by_a_click, 20)
    expect(desk.locator("[data-property=voltage]")).to_contain_text("V")
    go(desk, f"#/map?device={lamp}&span=1h")
    wait_for(lambda: line_pixels(desk, "voltage") > 200, 30)
    wait_for(lambda: desk.locator("[data-band=power_state] span").count() > 0, 30)


def test_an_empty_span_says_so_and_draws_no_line(desk: Page, city: City) -> None:
    go(desk, f"#/map?device={city.device_id(probe.LAMP)}&span=1h&at=1600000000000")
    expect(desk.get_by_text("Nothing was observed in this span.")).to_be_visible()
    expect(desk.locator("[data-chart] canvas")).to_have_count(0)


def test_the_panel_follows_what_the_device_says(desk: Page, city: City) -> None:
    assert city.probe
    go(desk, f"#/map?device={city.device_id(probe.LAMP)}")
    expect(desk.locator("[data-property=power_consumption]")).to_be_visible()
    city.probe.light("on", watts=77.7)
    expect(desk.locator("[data-property=power_consumption] dd")).to_have_text("77.7W", timeout=30_000)


def test_a_device_that_does_not_exist_is_said_to_be_missing(desk: Page, watch: Watch) -> None:
    watch.forgiving = True  # the browser itself reports the 404
    go(desk, "#/map?device=999999")
    expect(desk.get_by_text("There is no such device.")).to_be_visible()
