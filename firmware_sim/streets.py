"""Invented streets for a district: a mesh of avenues and side streets that grows outwards from the centre.

Two families of lines cross: blocks are 120 to 200 m wide, every fourth line is an avenue, and the whole mesh is bent a
little and turned to the bearing of the real town. Stretches between two crossings are built in the order of their
distance from the centre, so a fleet of any size fills one contiguous district without holes. Here and there a side
street is left out, for larger blocks. The streets depend on the place alone, not on the seed. What stands along them is
`sites`' business.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from firmware_sim.geography import District, Town
from firmware_sim.randomness import key_of

LAMP_SPACING_M = 35.0
LAMPS_A_BLOCK = (4, 5)
AVENUE_EVERY = 4
LEFT_OUT = 0.09  # share of side-street stretches that were never built
AVENUE_REACH = 0.86  # avenues run on where side streets have ended
METRES_A_DEGREE = 111_320.0
Point = tuple[float, float]  # metres along and across the district's bearing, from its centre


@dataclass(frozen=True)
class Stretch:
    """A street between two crossings: which line, and from which crossing on."""

    along: bool  # runs along the bearing, at a fixed distance across it
    line: int
    step: int


class Mesh:
    """The streets of a district, built for so many lamps."""

    def __init__(self, town: Town, district: District, lamps: int) -> None:
        random = np.random.Generator(np.random.PCG64(key_of(town.code, district.en)))
        self._town, self._district = town, district
        self._first_name = town.districts.index(district) * 3
        self._bend = [(random.uniform(30, 46), random.uniform(1500, 2300), random.uniform(0, 6.28)) for _ in "uv"]
        self._shape = [(random.uniform(0.04, 0.1), random.uniform(0, 6.28)) for _ in range(3)]
        self._oblong = random.uniform(1.1, 1.3)
        # Twice the lines that a square of the district would have: the outline is oblong and avenues reach out.
        self.lines = 8 + math.ceil(math.sqrt(lamps / 8.0))
        self._at = [self._positions(random), self._positions(random)]
        self._left_out = key_of(town.code, district.en, "left out")
        self.stretches = self._build(lamps)

    def _positions(self, random: np.random.Generator) -> dict[int, float]:
        """Where the lines lie, in metres; the numbers are those of the lines, 0 in the centre."""
        found = {0: 0.0}
        for number in range(1, self.lines + 2):
            for side in (1, -1):
                step = LAMP_SPACING_M * random.choice(LAMPS_A_BLOCK) * random.uniform(0.95, 1.05)
                found[side * number] = found[side * (number - 1)] + side * float(step)
        return found

    def _build(self, lamps: int) -> list[Stretch]:
        """Stretches in the order in which they are built, just enough for the lamps."""
        wanted = []
        for along in (True, False):
            for line in range(-self.lines, self.lines + 1):
                for step in range(-self.lines, self.lines + 1):
                    stretch = Stretch(along, line, step)
                    if not self.is_avenue(line) and self._missing(stretch):
                        continue
                    far = self.outwards(self.middle_of(stretch))
                    wanted.append((far * (AVENUE_REACH if self.is_avenue(line) else 1.0), stretch))
        wanted.sort(key=lambda found: found[0])
        built, room = [], 0
        for _, stretch in wanted:
            if room >= lamps:
                break
            built.append(stretch)
            room += self.lamps_of(stretch)
        return built

    def _missing(self, stretch: Stretch) -> bool:
        word = (stretch.line * 7919 + stretch.step * 104_729 + stretch.along) * 0x9E3779B97F4A7C15 + self._left_out
        word &= 0xFFFFFFFFFFFFFFFF
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        return (word >> 40) / 2**24 < LEFT_OUT

    @staticmethod
    def is_avenue(line: int) -> bool:
        return line % AVENUE_EVERY == 0

    def grid(self, along: bool, line: int, distance: float) -> Point:
        """A place on a line, in metres of the mesh before it is bent."""
        fixed = self._at[1 if along else 0][line]
        return (distance, fixed) if along else (fixed, distance)

    def ends(self, stretch: Stretch) -> tuple[float, float]:
        """Where a stretch begins and ends on its line."""
        crossing = self._at[0 if stretch.along else 1]
        return crossing[stretch.step], crossing[stretch.step + 1]

    def crossing(self, u: int, v: int) -> Point:
        return self._at[0][u], self._at[1][v]

    def middle_of(self, stretch: Stretch) -> Point:
        return self.grid(stretch.along, stretch.line, sum(self.ends(stretch)) / 2)

    def lamps_of(self, stretch: Stretch) -> int:
        """Lamps of a stretch; the one at the crossing where it begins belongs to the street along the bearing."""
        start, end = self.ends(stretch)
        return max(1, round((end - start) / LAMP_SPACING_M) - (0 if stretch.along else 1))

    def outwards(self, at: Point) -> float:
        """How far out a place lies, in metres; equal on the outline of the district, which is round but no circle."""
        u, v = at[0] / self._oblong, at[1] * self._oblong
        angle = math.atan2(v, u)
        swell = sum(size * math.cos((k + 2) * angle + turn) for k, (size, turn) in enumerate(self._shape))
        return math.hypot(u, v) / (1 + swell)

    def bent(self, at: Point) -> Point:
        """A place of the mesh where it really lies."""
        (du, lu, tu), (dv, lv, tv) = self._bend
        u, v = at
        return u + du * math.sin(2 * math.pi * v / lu + tu), v + dv * math.sin(2 * math.pi * u / lv + tv)

    def to_degrees(self, at: Point) -> tuple[float, float]:
        """(latitude, longitude) of a place of the mesh."""
        u, v = self.bent(at)
        turn = math.radians(self._district.bearing_deg)
        north = u * math.cos(turn) - v * math.sin(turn)
        east = u * math.sin(turn) + v * math.cos(turn)
        latitude = self._district.latitude + north / METRES_A_DEGREE
        longitude = self._district.longitude + east / (
            METRES_A_DEGREE * math.cos(math.radians(self._district.latitude))
        )
        return round(latitude, 6), round(longitude, 6)

    def name_of(self, along: bool, line: int) -> tuple[str, str]:
        """(Korean, romanised): avenues after the town's main streets; side streets after the avenue across the
        centre that they leave, with a number that is odd on one side and even on the other.
        """
        if not self.is_avenue(line):
            ko, en = self.name_of(not along, 0)
            number = 4 * abs(line) - (1 if line > 0 else 0)
            return f"{ko} {number}번길", f"{en} {number}beon-gil"
        rank = 2 * (line // AVENUE_EVERY) if line >= 0 else -2 * (line // AVENUE_EVERY) - 1  # 0 1 2 3 for 0 -1 1 -2
        place = 2 * rank + (0 if along else 1)
        names = self._town.streets
        if place < len(names):
            return names[(self._first_name + place) % len(names)]
        return f"{self._district.ko} {place}로", f"{self._district.en} {place}-ro"

    @cached_property
    def blocks(self) -> list[tuple[int, int]]:
        """(u, v) of the south-western crossing of every block with streets on two sides or more, innermost first."""
        sides: dict[tuple[int, int], int] = {}
        for stretch in self.stretches:
            for back in (0, -1):
                u, v = (stretch.step, stretch.line + back) if stretch.along else (stretch.line + back, stretch.step)
                sides[u, v] = sides.get((u, v), 0) + 1
        found = [block for block, count in sides.items() if count >= 3] or list(sides)
        return sorted(found, key=lambda block: (self.outwards(self.centre_of(block)), block))

    def centre_of(self, block: tuple[int, int]) -> Point:
        a, b = self.crossing(*block), self.crossing(block[0] + 1, block[1] + 1)
        return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
