"""Invented streets for a district, and the places along them where devices stand.

A district is a bowed grid of main streets and side lanes around its centre, turned to the bearing of the real town,
with a ring arc: wide enough for the lamps asked for. Lamps stand every 35 m on alternating sides, bins at corners,
bays in rows at the kerb and in car parks, garages near the centre. Same district and counts: same streets.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from firmware_sim.geography import District, Town
from firmware_sim.randomness import key_of

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
    points: list[Point]

    @cached_property
    def metres(self) -> list[float]:
        """Distance of each point from the street's start."""
        return [0.0, *accumulate(math.dist(a, b) for a, b in pairwise(self.points))]


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


def lay(town: Town, district: District, lamps: int) -> list[Street]:
    """Streets of the district, the most important first, just enough for the lamps. They don't depend on the seed."""
    radius = 320.0
    while True:
        lit: list[Street] = []
        room = 0
        for street in _streets(town, district, radius):
            lit.append(street)
            room += int((_length(street) - 12.0) // LAMP_SPACING_M)
            if room >= lamps:
                return lit
        radius += 40.0


def _streets(town: Town, district: District, radius: float) -> list[Street]:
    """A boulevard, a street across it, a ring, then side lanes outward from the centre."""
    number_of = town.districts.index(district)
    random = np.random.Generator(np.random.PCG64(key_of(town.code, district.en)))
    names = [town.streets[(2 * number_of + i) % len(town.streets)] for i in range(3)]
    along_m, across_m = ALONG_M * random.uniform(0.8, 1.25), ACROSS_M * random.uniform(0.8, 1.25)
    lines = [
        (side * k * across_m, True, k) for k in range(int(radius // across_m) + 1) for side in ((1, -1) if k else (1,))
    ]
    lines += [
        (side * k * along_m, False, k) for k in range(int(radius // along_m) + 1) for side in ((1, -1) if k else (1,))
    ]
    lines.sort(key=lambda line: (abs(line[0]), not line[1], line[0] * random.choice((-1, 1))))
    middle = random.uniform(-0.3, 0.3) * radius
    streets = []
    for i, (offset, along, k) in enumerate(lines):
        base = names[0 if along else 1]
        reach = (
            radius * (2.0 if along else 1.3)
            if k == 0
            else radius * math.sqrt(max(0.3, 1 - (offset / (radius * 1.2)) ** 2))
        )
        bow, slant = random.uniform(-30, 30), random.uniform(-0.05, 0.05)
        shift = middle if k == 0 and along else random.uniform(-0.35, 0.35) * reach * (k > 0)
        steps = np.arange(-reach, reach, 10.0)
        drift = (
            offset + bow * (1 - (steps / reach) ** 2) * (k > 0) + slant * steps + 18 * (k == 0) * np.sin(steps / 210.0)
        )
        points = [
            (float(a), float(b)) if along else (float(b), float(a)) for a, b in zip(steps + shift, drift, strict=True)
        ]
        lane = 4 * i + (1 if offset < 0 else 2)
        name = base if k == 0 else (f"{base[0]} {lane}번길", f"{base[1]} {lane}beon-gil")
        streets.append(Street(*name, k == 0, points))
    ring, start = random.uniform(0.55, 0.85) * radius, random.uniform(0, 2 * math.pi)
    arc = np.arange(start, start + random.uniform(1.2, 2.6), 10.0 / ring)
    streets.insert(
        int(random.integers(2, 4)), Street(*names[2], True, [(ring * math.cos(a), ring * math.sin(a)) for a in arc])
    )
    return streets


def _length(street: Street) -> float:
    return street.metres[-1]


def _along(street: Street, distance: float) -> tuple[Point, Point]:
    """(point, unit vector to its left) so many metres from the street's start."""
    step = min(max(1, bisect_left(street.metres, distance)), len(street.points) - 1)
    a, b = street.points[step - 1], street.points[step]
    length = street.metres[step] - street.metres[step - 1]
    part = (distance - street.metres[step - 1]) / length
    return (a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])), (-(b[1] - a[1]) / length, (b[0] - a[0]) / length)


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
        if not street.main or len(streets) < 5
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
