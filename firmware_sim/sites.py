"""Where devices stand along the streets of a mesh: lamps every 35 m on alternating sides, bins at corners, bays in rows
at the kerb and in car parks, garages on blocks. Every list is spread over the whole district.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np

from firmware_sim.geography import District
from firmware_sim.streets import LAMP_SPACING_M, Mesh, Point, Stretch

Thing = TypeVar("Thing")
ROAD_M = {True: 9.0, False: 6.0}  # from the middle of an avenue or side street to its lamps
FEW = 30  # lamps that a district's streets may lack
KERB_BAY_M, KERB_BAYS = 6.0, 12
STALL_M, STALLS, AISLE_M = 3.3, 10, 16.0


@dataclass(frozen=True)
class Site:
    """Where a device stands: metres in the mesh, what the place is called, and the street, or "" for none."""

    at: Point
    ko: str
    en: str
    street: str


def lamps(mesh: Mesh, count: int, random: np.random.Generator) -> list[Site]:
    """Lamp posts, street by street, from one end to the other; one hangs over each crossing, the others stand on
    alternating sides. Streets that then have no light, or not enough, are given up.
    """
    built = set(mesh.stretches)
    posts: list[tuple[bool, int, float, bool]] = []
    for lit, stretch in enumerate(mesh.stretches):
        if len(posts) >= count >= FEW:
            del mesh.stretches[lit - (len(posts) > count) :]
            break
        start, end = mesh.ends(stretch)
        parts = max(2, round((end - start) / LAMP_SPACING_M))
        last = parts if Stretch(True, stretch.line, stretch.step + 1) in built or not stretch.along else parts + 1
        outwards = 1 if abs(start) < abs(end) else -1
        for k in range(0 if stretch.along else 1, last)[::outwards]:
            over = k in (0, parts)
            shift = 0.0 if over else float(random.uniform(-1.0, 1.0))
            posts.append((stretch.along, stretch.line, start + k * (end - start) / parts + shift, over))
    sites: list[Site] = []
    for (along, line), of_street in groupby(sorted(_cut(posts, count, "lamps")), key=lambda post: post[:2]):
        ko, en = mesh.name_of(along, line)
        side = 1
        for number, (_, _, at, over) in enumerate(of_street, 1):
            place = mesh.grid(along, line, at) if over else _beside(mesh, along, line, at, side)
            side = side if over else -side
            sites.append(Site(place, f"{ko} 가로등 {number}", f"{en} lamp {number}", en))
    return sites


def bins(mesh: Mesh, count: int) -> list[Site]:
    """Bins at corners, one at each crossing; then half way between crossings; then at opposite corners."""
    corners: list[Site] = []
    seen: set[tuple[int, int]] = set()
    for stretch in mesh.stretches:
        u, v = (stretch.step, stretch.line) if stretch.along else (stretch.line, stretch.step)
        if (u, v) not in seen:
            seen.add((u, v))
            corners.append(_corner(mesh, stretch, u, v, 1 if (u + v) % 2 else -1))
    found = corners[:count]
    for side in (1, -1) if len(found) < count else ():
        for stretch in _spread(mesh.stretches, min(count - len(found), len(mesh.stretches))):
            en = mesh.name_of(stretch.along, stretch.line)
            middle = sum(mesh.ends(stretch)) / 2 + 10.0
            found.append(Site(_beside(mesh, stretch.along, stretch.line, middle, side, 2.0), *en, en[1]))
    if len(found) < count:
        for u, v in sorted(seen, key=lambda at: (mesh.outwards(mesh.crossing(*at)), at)):
            found.append(_corner(mesh, Stretch(True, v, u), u, v, -1 if (u + v) % 2 else 1))
    return _numbered(_cut(found, count, "bins"), "수거함", "bin")


def _corner(mesh: Mesh, stretch: Stretch, u: int, v: int, side: int) -> Site:
    ko, en = mesh.name_of(stretch.along, stretch.line)
    x, y = mesh.crossing(u, v)
    at = x + side * (ROAD_M[mesh.is_avenue(u)] + 4.0), y + side * (ROAD_M[mesh.is_avenue(v)] + 4.0)
    return Site(at, ko, en, en)


def bays(mesh: Mesh, district: District, count: int) -> list[Site]:
    """Parking bays: half in rows at the kerb of side streets, half in car parks inside the blocks."""
    at_kerb = [s for s in mesh.stretches if not mesh.is_avenue(s.line)] or mesh.stretches
    parks_wanted = -(-count // (2 * 2 * STALLS))
    rows_wanted = -(-max(0, count - parks_wanted * 2 * STALLS) // KERB_BAYS)
    parks = _car_parks(mesh, district, parks_wanted)
    kerbs: list[Site] = []
    for side in (1, -1):
        for stretch in _spread(at_kerb, min(len(at_kerb), rows_wanted)):
            kerbs += _kerb(mesh, stretch, side)
        rows_wanted -= len(at_kerb)
        if rows_wanted <= 0:
            break
    more = [] if len(kerbs) + len(parks) >= count else _car_parks(mesh, district, len(mesh.blocks))
    return _numbered(_cut(kerbs[: count - len(parks)] + parks + more[len(parks) :], count, "bays"), "주차면", "bay")


def _kerb(mesh: Mesh, stretch: Stretch, side: int) -> Iterator[Site]:
    ko, en = mesh.name_of(stretch.along, stretch.line)
    middle = sum(mesh.ends(stretch)) / 2
    for k in range(KERB_BAYS):
        at = middle + (k - (KERB_BAYS - 1) / 2) * KERB_BAY_M
        yield Site(_beside(mesh, stretch.along, stretch.line, at, side, -2.5), f"{ko} 노상", f"{en} kerb", en)


def _car_parks(mesh: Mesh, district: District, count: int) -> list[Site]:
    """Two rows of stalls each, on blocks all over the district."""
    found = []
    for number, block in enumerate(_spread(mesh.blocks, min(count, len(mesh.blocks))), 1):
        u, v = mesh.centre_of(block)
        for row in (-0.5, 0.5):
            for k in range(STALLS):
                at = u - 28.0 + (k - (STALLS - 1) / 2) * STALL_M, v + row * AISLE_M
                found.append(Site(at, f"{district.ko} 공영주차장 {number}", f"{district.en} car park {number}", ""))
    return found


def garages(mesh: Mesh, district: District, count: int) -> list[Site]:
    """Garages on blocks all over the district."""
    blocks = mesh.blocks
    where = _spread(blocks, count) if count <= len(blocks) else [blocks[i % len(blocks)] for i in range(count)]
    found = []
    for i, block in enumerate(where, 1):
        u, v = mesh.centre_of(block)
        at = u + 32.0, v + 9.0 * (i // len(blocks))
        found.append(Site(at, f"{district.ko} 공영주차타워 {i}", f"{district.en} garage {i}", ""))
    return found


def _beside(mesh: Mesh, along: bool, line: int, distance: float, side: int, further_m: float = 0.0) -> Point:
    """A place at the roadside, `further_m` from the line of the lamps."""
    u, v = mesh.grid(along, line, distance)
    off = side * (ROAD_M[mesh.is_avenue(line)] + further_m)
    return (u, v + off) if along else (u + off, v)


def _spread(things: list[Thing], count: int) -> list[Thing]:
    """So many of them, evenly from the first to the last."""
    return [things[int((i + 0.5) * len(things) / count)] for i in range(count)]


def _numbered(sites: list[Site], ko: str, en: str) -> list[Site]:
    seen: dict[str, int] = {}
    found = []
    for site in sites:
        seen[site.en] = seen.get(site.en, 0) + 1
        found.append(Site(site.at, f"{site.ko} {ko} {seen[site.en]}", f"{site.en} {en} {seen[site.en]}", site.street))
    return found


def _cut(sites: list[Thing], count: int, what: str) -> list[Thing]:
    if len(sites) < count:
        raise ValueError(f"cannot place {count} {what}: the district has room for {len(sites)}")
    return sites[:count]
