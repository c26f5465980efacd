"""Making something go wrong at the probe's lamp, and well again; and what the database says of the alarm."""

from playwright.sync_api import Locator, Page

from tests.browser import probe
from tests.browser.city import City
from tests.waiting import wait_for

NEWEST = """
select alarm_id from alarm
where device_id = %s and condition = 'out_of_range:voltage' and state = any(%s) order by alarm_id desc"""
STATE = "select state, acknowledged_by, assigned_to, closed_by, cause, note from alarm where alarm_id = %s"


QUIET_S = 900  # what is back sooner than this after it cleared is the same alarm


def raise_alarm(city: City, *, states: tuple[str, ...] = ("open", "acknowledged")) -> int:
    """Mains voltage far too high at the probe's mast; the new alarm that comes of it, in one of these states."""
    assert city.probe
    mast = city.device_id(probe.MAST)
    city.probe.light("on", device=probe.MAST, after_s=QUIET_S)
    for _ in range(3):
        city.probe.light("on", device=probe.MAST, voltage=290.0, after_s=60)
    return int(wait_for(lambda: city.rows(NEWEST, mast, list(states)), 30)[0][0])


def settle(city: City, alarm: int) -> None:
    """Voltage and power as they should be, until the alarm is no longer open."""
    assert city.probe
    for _ in range(8):
        city.probe.light("on", device=probe.MAST, after_s=60)
    wait_for(lambda: state(city, alarm)["state"] in ("cleared", "closed"), 30)


def state(city: City, alarm: int) -> dict[str, str | None]:
    """What the database holds of an alarm's life."""
    names = ("state", "acknowledged_by", "assigned_to", "closed_by", "cause", "note")
    return dict(zip(names, city.rows(STATE, alarm)[0], strict=True))


def row_of(page: Page, alarm: int) -> Locator:
    """The alarm's row in the list."""
    return page.locator(f"li[data-alarm='{alarm}'][data-row]")
