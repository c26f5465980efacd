"""Reading what is drawn: the map's features as MapLibre rendered them, and the colours of pixels on the screen."""

from __future__ import annotations

import base64
from typing import Any

from playwright.sync_api import Page

from tests.waiting import wait_for

RENDERED = """layers => {
  const { map } = document.querySelector('[data-map]');
  const seen = new Map();
  let drawn = [];
  try {
    drawn = map.queryRenderedFeatures({ layers });
  } catch (error) {  // MapLibre while a tile of new data replaces the old: ask again
    if (!String(error).includes('Out of bounds')) throw error;
  }
  for (const { properties: p } of drawn) {
    seen.set(p.code ?? p.cluster_id ?? `d${p.id}`, p);
  }
  return [...seen.values()];
}"""
PIXELS = """async ([image, spot]) => {
  const picture = new Image();
  picture.src = 'data:image/png;base64,' + image;
  await picture.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [spot.width, spot.height];
  const ctx = canvas.getContext('2d');
  ctx.drawImage(picture, -spot.x, -spot.y);
  return [...ctx.getImageData(0, 0, spot.width, spot.height).data];
}"""
PLACE = """async id => {
  const { map } = document.querySelector('[data-map]');
  const found = () => {
    try {
      return map.queryRenderedFeatures({ layers: ['devices'] }).find(f => f.properties.id === id);
    } catch (error) {  // as above
      if (!String(error).includes('Out of bounds')) throw error;
    }
  };
  let f;
  while (!(f = found())) await new Promise(requestAnimationFrame);
  const box = map.getCanvas().getBoundingClientRect();
  const at = map.project(f.geometry.coordinates);
  return { x: Math.round(box.x + at.x), y: Math.round(box.y + at.y) };
}"""


def go(page: Page, view: str) -> None:
    """Show a view by its address."""
    page.evaluate("hash => { location.hash = hash }", view)


def rendered(page: Page, *layers: str) -> list[dict[str, Any]]:
    """Properties of what the map shows on these layers."""
    found: list[dict[str, Any]] = page.evaluate(RENDERED, list(layers))
    return found


def icon(page: Page, device_id: int) -> str | None:
    """The picture by which a device is shown, such as device|lamp|on|ok."""
    return next((str(p["icon"]) for p in rendered(page, "devices") if p["id"] == device_id), None)


def show_device(page: Page, device_id: int, latitude: float, longitude: float) -> None:
    """Bring a device to the middle of the map, near enough to be drawn by itself."""
    go(page, f"#/map?m=17.00/{latitude}/{longitude}")
    wait_for(lambda: icon(page, device_id), 30)


def yellow_pixels(page: Page, device_id: int) -> int:
    """How many pixels around a device are as yellow as a lit lamp."""
    at = page.evaluate(PLACE, device_id)
    image = base64.b64encode(page.screenshot()).decode()
    data = page.evaluate(PIXELS, [image, {"x": at["x"] - 8, "y": at["y"] - 8, "width": 16, "height": 16}])
    pixels = zip(data[0::4], data[1::4], data[2::4], strict=True)
    return sum(1 for red, green, blue in pixels if red > 200 and green > 160 and blue < 120)
