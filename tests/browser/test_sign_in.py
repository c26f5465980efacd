"""Nobody sees the city before signing in."""

from playwright.sync_api import Page, expect

from tests.browser.city import City
from tests.browser.conftest import Opener, Watch


def test_a_wrong_password_is_refused_in_plain_words(opened: Opener, city: City, watch: Watch) -> None:
    watch.forgiving = True  # the browser itself reports the 401
    page = opened()
    page.goto(city.url)
    page.fill("[name=name]", city.name)
    page.fill("[name=password]", "not it")
    page.click("form button")
    expect(page.get_by_role("alert")).to_have_text("Name or password is not right.")
    expect(page.locator("[data-map]")).to_have_count(0)


def test_a_reload_keeps_one_signed_in_and_signing_out_ends_it(desk: Page) -> None:
    desk.reload()
    expect(desk.locator("[data-map]")).to_be_visible()
    desk.get_by_role("button", name="Sign out").first.click()
    expect(desk.locator("[name=password]")).to_be_visible()
    desk.reload()
    expect(desk.locator("[name=password]")).to_be_visible()
