"""Boxes in degrees that hold everything within some metres of a point, at any latitude.

A box is what an index finds; the distance itself is worked out by `queries/sql/nearest.sql`. Pure.
"""

import math

Box = tuple[float, float, float, float]  # west, south, east, north in degrees
LEAST_RADIUS_M = 6_335_439.0  # of curvature, WGS 84: along the meridian at the equator; elsewhere a degree is longer
SLACK = 1.000_001  # so that rounding never leaves out what stands on the edge


def boxes(latitude: float, longitude: float, radius_m: float) -> list[Box]:
    """One box, or two where it crosses the antimeridian. radius_m: up to a quarter of the globe."""
    angle = min(radius_m * SLACK / LEAST_RADIUS_M, math.pi / 2)
    reach = math.degrees(angle) + 1e-9
    south, north = latitude - reach, latitude + reach
    if south <= -90 or north >= 90:
        return [(-180.0, max(south, -90.0), 180.0, min(north, 90.0))]
    aside = math.degrees(math.asin(min(1.0, math.sin(math.radians(reach)) / math.cos(math.radians(latitude))))) + 1e-9
    west, east = longitude - aside, longitude + aside
    if west < -180:
        return [(-180.0, south, east, north), (west + 360, south, 180.0, north)]
    if east > 180:
        return [(west, south, 180.0, north), (-180.0, south, east - 360, north)]
    return [(west, south, east, north)]
