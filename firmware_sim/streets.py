"""Invented streets for a district, and the places along them where devices stand.

A district is a bowed grid of main streets and side lanes around its centre, turned to the bearing of the real town,
with a ring arc: wide enough for the lamps asked for. Lamps stand every 35 m on alternating sides, bins at corners,
bays in rows at the kerb and in car parks, garages near the centre. Same district, counts and random numbers: same
places.
"""

import math
from dataclasses import dataclass

import numpy as np

from firmware_sim.geography import District, Town

LAMP_SPACING_M = 35.0
ALONG_M, ACROSS_M = 310.0, 240.0  # a superblock
KERB_BAY_M, STALL_M = 6.0, 2.6
METRES_A_DEGREE = 111_320.0
Point = tuple[float, float]  # metres along and across the district's bearing, from its centre


@dataclass(frozen=True)
class Street:
    ko: str
    en: str
    main: bool
    points: list[Point]  # every metre or so


@dataclass(frozen=True)
class Site:
    """Where a device stands: metres in the district, and what the place is called."""

    at: Point
    ko: str
    en: str
    street: str


def to_degrees(district: District, at: Point) -> tuple[float, float]:
    """(latitude, longitude) of a point of the district."""
    turn = math.radians(district.bearing_deg)
    north = at[0] * math.cos(turn) - at[1] * math.sin(turn)
    east = at[0] * math.sin(turn) + at[1] * math.cos(turn)
    latitude = district.latitude + north / METRES_A_DEGREE
    longitude = district.longitude + east / (METRES_A_DEGREE * math.cos(math.radians(district.latitude)))
    return round(float(latitude), 6), round(float(longitude), 6)


def lay(town: Town, district: District, lamps: int, random: np.random.Generator) -> list[Street]:
    """Streets of the district, nearest to its centre first, long enough for the lamps."""
    radius = 260.0
    while True:
        streets = _streets(
            town, district, radius, np.random.Generator(np.random.PCG64(7 + town.districts.index(district)))
        )
        if sum(_length(street) for street in streets) >= lamps * LAMP_SPACING_M * 1.02:
            random.random()
            return streets
        radius += 40.0


def _streets(town: Town, district: District, radius: float, random: np.random.Generator) -> list[Street]:
    first = town.districts.index(district) * 2
    names = [town.streets[(first + i) % len(town.streets)] for i in range(len(town.streets))]
    lines: list[tuple[float, bool, int]] = []
    for number in range(int(radius // ACROSS_M) + 1):
        lines += [(side * number * ACROSS_M, True, number) for side in ((1, -1) if number else (1,))]
    for number in range(int(radius // ALONG_M) + 1):
        lines += [(side * number * ALONG_M, False, number) for side in ((1, -1) if number else (1,))]
    lines.sort(key=lambda line: (abs(line[0]), not line[1], line[0]))
    streets = []
    for i, (offset, along, number) in enumerate(lines):
        base = names[0 if along else 1]
        half = radius * (1.15 if number == 0 else math.sqrt(max(0.2, 1 - (offset / (radius * 1.15)) ** 2)))
        bow, slant = random.uniform(-16, 16), random.uniform(-0.02, 0.02)
        steps = np.arange(-half, half, 1.0)
        drift = offset + bow * (1 - (steps / half) ** 2) * (number > 0) + slant * steps
        points = [(float(a), float(b)) if along else (float(b), float(a)) for a, b in zip(steps, drift, strict=True)]
        lane = 4 * i + (1 if offset < 0 else 2)
        streets.append(
            Street(
                base[0] if number == 0 else f"{base[0]} {lane}번길",
                base[1] if number == 0 else f"{base[1]} {lane}beon-gil",
                number == 0,
                points,
            )
        )
    ring = 0.72 * radius
    arc = np.arange(math.radians(25), math.radians(155), 1.0 / ring)
    name = names[2]
    streets.insert(2, Street(name[0], name[1], True, [(ring * math.cos(a), -ring * math.sin(a) * 0.9) for a in arc]))
    return streets


def _length(street: Street) -> float:
    return sum(math.dist(a, b) for a, b in zip(street.points, street.points[1:], strict=False))


def _along(street: Street, distance: float) -> tuple[Point, Point]:
    """(point, unit vector to its left) so many metres from the street's start."""
    passed = 0.0
    for a, b in zip(street.points, street.points[1:], strict=False):
        step = math.dist(a, b)
        if passed + step >= distance:
            part = (distance - passed) / step
            return (a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])), (
                -(b[1] - a[1]) / step,
                (b[0] - a[0]) / step,
            )
        passed += step
    return street.points[-1], (0.0, 0.0)


def _beside(street: Street, distance: float, left_m: float) -> Point:
    point, left = _along(street, distance)
    return point[0] + left_m * left[0], point[1] + left_m * left[1]


def lamps(streets: list[Street], count: int, random: np.random.Generator) -> list[Site]:
    """Lamp posts, street by street."""
    sites: list[Site] = []
    for street in streets:
        for number, distance in enumerate(np.arange(12.0, _length(street), LAMP_SPACING_M), 1):
            side = (9.0 if street.main else 5.0) * (1 if number % 2 else -1)
            sites.append(
                Site(
                    _beside(street, float(distance + random.uniform(-1.5, 1.5)), side),
                    f"{street.ko} 가로등 {number}",
                    f"{street.en} lamp {number}",
                    street.en,
                )
            )
    return _cut(sites, count, "lamps")


def bins(streets: list[Street], count: int) -> list[Site]:
    """Bins at corners, nearest to the centre first; then along the streets."""
    corners: list[tuple[float, Site]] = []
    for street in streets:
        length = _length(street)
        for step, distance in enumerate(np.arange(18.0, length, ALONG_M / 2)):
            at = _beside(street, float(distance), (12.0 if street.main else 8.0) * (1 if step % 2 else -1))
            corners.append((math.hypot(*at), Site(at, street.ko, street.en, street.en)))
        for step, distance in enumerate(np.arange(18.0 + ALONG_M / 4, length, ALONG_M / 4)):
            at = _beside(street, float(distance), (12.0 if street.main else 8.0) * (-1 if step % 2 else 1))
            corners.append((10_000 + math.hypot(*at), Site(at, street.ko, street.en, street.en)))
    corners.sort(key=lambda corner: corner[0])
    return _numbered(_cut([site for _, site in corners], count, "bins"), "수거함", "bin")


def bays(district: District, streets: list[Street], count: int) -> list[Site]:
    """Parking bays: rows at the kerb of side streets and car parks inside the blocks, in turn."""
    sites: list[Site] = []
    rows = [
        (street, float(distance), side)
        for street in streets
        if not street.main or len(streets) < 4
        for side in (5.0, -5.0)
        for distance in np.arange(35.0, _length(street) - 75.0, 155.0)
    ]
    rows.sort(key=lambda row: (row[2] < 0, math.hypot(*_beside(*row))))
    parks = sorted(
        ((u + ALONG_M / 2, v + ACROSS_M / 2) for u in np.arange(-8, 8) * ALONG_M for v in np.arange(-8, 8) * ACROSS_M),
        key=lambda park: math.hypot(*park),
    )
    turn = 0
    while len(sites) < count and (rows or parks):
        if turn % 2 == 0 and rows:
            street, distance, side = rows.pop(0)
            sites += [
                Site(
                    _beside(street, distance + i * KERB_BAY_M, side),
                    f"{street.ko} 노상",
                    f"{street.en} kerb",
                    street.en,
                )
                for i in range(12)
            ]
        elif parks:
            u, v = parks.pop(0)
            number = turn // 2 + 1
            for row in (0.0, 16.0):
                sites += [
                    Site(
                        (u - 13 + i * STALL_M, v + row),
                        f"{district.ko} 공영주차장 {number}",
                        f"{district.en} car park {number}",
                        "",
                    )
                    for i in range(10)
                ]
        turn += 1
    return _numbered(_cut(sites, count, "bays"), "주차면", "bay")


def garages(district: District, count: int) -> list[Site]:
    """Garages, around the centre."""
    spots = sorted(
        ((u * ALONG_M + 70, v * ACROSS_M + 60) for u in range(-6, 6) for v in range(-6, 6)),
        key=lambda spot: math.hypot(*spot),
    )
    sites = [Site(spot, f"{district.ko} 공영주차타워", f"{district.en} garage", "") for spot in spots]
    return [
        Site(site.at, f"{site.ko} {i}", f"{site.en} {i}", "") for i, site in enumerate(_cut(sites, count, "garages"), 1)
    ]


def _numbered(sites: list[Site], ko: str, en: str) -> list[Site]:
    seen: dict[str, int] = {}
    found = []
    for site in sites:
        seen[site.en] = seen.get(site.en, 0) + 1
        found.append(Site(site.at, f"{site.ko} {ko} {seen[site.en]}", f"{site.en} {en} {seen[site.en]}", site.street))
    return found


def _cut(sites: list[Site], count: int, what: str) -> list[Site]:
    if len(sites) < count:
        raise ValueError(f"cannot place {count} {what}: the district has room for {len(sites)}")
    return sites[:count]
