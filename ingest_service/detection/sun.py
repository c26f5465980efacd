"""Where the sun stands: sine of its elevation, by place and time.

Source: NOAA Global Monitoring Laboratory, "Solar Calculation Details" (after Meeus, Astronomical Algorithms, 1991);
within 0.01 degrees from 1950 to 2100, without refraction (half a degree at the horizon). Plain functions that are
compiled as they are.
"""

import math

import numba

HOUR_MS = 3_600_000
J2000_MS = 946_728_000_000  # 2000-01-01T12:00Z
CENTURY_MS = 36_525 * 24 * HOUR_MS


def position(at_ms: int) -> tuple[float, float, float]:
    """(sine and cosine of the sun's declination, degrees of longitude that it stands over) at an instant."""
    century = (at_ms - J2000_MS) / CENTURY_MS
    mean_longitude = math.radians((280.46646 + century * (36000.76983 + century * 0.0003032)) % 360.0)
    anomaly = math.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = (
        math.sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + math.sin(2.0 * anomaly) * (0.019993 - 0.000101 * century)
        + math.sin(3.0 * anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1934.136 * century)
    apparent = mean_longitude + math.radians(centre - 0.00569 - 0.00478 * math.sin(node))
    seconds = 21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))
    obliquity = math.radians(23.0 + (26.0 + seconds / 60.0) / 60.0 + 0.00256 * math.cos(node))
    sine = math.sin(obliquity) * math.sin(apparent)
    tangent = math.tan(obliquity / 2.0)
    y = tangent * tangent
    equation_of_time = 4.0 * math.degrees(
        y * math.sin(2.0 * mean_longitude)
        - 2.0 * eccentricity * math.sin(anomaly)
        + 4.0 * eccentricity * y * math.sin(anomaly) * math.cos(2.0 * mean_longitude)
        - 0.5 * y * y * math.sin(4.0 * mean_longitude)
        - 1.25 * eccentricity * eccentricity * math.sin(2.0 * anomaly)
    )  # minutes that a sundial is ahead of the clock
    minutes = (at_ms % (24 * HOUR_MS)) / 60_000.0
    return sine, math.sqrt(1.0 - sine * sine), (720.0 - minutes - equation_of_time) / 4.0


def sine_of_elevation(
    sine: float, cosine: float, over_deg: float, latitude_sine: float, latitude_cosine: float, longitude_deg: float
) -> float:
    """Sine of the sun's elevation at a place, from `position`; -1..1."""
    return latitude_sine * sine + latitude_cosine * cosine * math.cos(math.radians(longitude_deg - over_deg))


def elevation_deg(at_ms: int, latitude_deg: float, longitude_deg: float) -> float:
    """Degrees of the sun's centre above the horizon, without refraction."""
    latitude = math.radians(latitude_deg)
    found = sine_of_elevation(*position(at_ms), math.sin(latitude), math.cos(latitude), longitude_deg)
    return math.degrees(math.asin(max(-1.0, min(1.0, found))))


compiled_position = numba.njit(cache=True, nogil=True)(position)
compiled_sine_of_elevation = numba.njit(cache=True, nogil=True)(sine_of_elevation)
