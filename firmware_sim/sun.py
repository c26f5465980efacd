"""When the sun crosses an elevation, by latitude, longitude and date.

Source: NOAA Global Monitoring Laboratory, "Solar Calculation Details" (after Meeus, Astronomical Algorithms, 1991).
Good to about a minute below 72 degrees of latitude; where the sun doesn't cross, day or night fills the whole day.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

DAY_MS = 86_400_000
SUNRISE_DEG = -0.833  # upper limb on the horizon, with refraction
CIVIL_TWILIGHT_DEG = -6.0


def crossings_ms(
    day: int, latitude_deg: ArrayLike, longitude_deg: ArrayLike, elevation_deg: ArrayLike = SUNRISE_DEG
) -> tuple[I8, I8]:
    """(rising, setting) in ms since 1970 UTC, of local day number `day` (days since 1970-01-01); shapes broadcast."""
    latitude, longitude, elevation = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (latitude_deg, longitude_deg, elevation_deg))
    )
    midnight_ms = day * DAY_MS
    found = []
    for side in (-1.0, 1.0):
        minutes = 720.0 - 4.0 * longitude
        for _ in range(3):  # the sun moves on between noon and the crossing
            declination, equation_of_time = _sun(midnight_ms / DAY_MS + minutes / 1440.0)
            cosine = (np.sin(np.radians(elevation)) - np.sin(np.radians(latitude)) * np.sin(declination)) / (
                np.cos(np.radians(latitude)) * np.cos(declination)
            )
            hour_angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
            minutes = 720.0 - 4.0 * longitude - equation_of_time + side * 4.0 * hour_angle
        found.append(np.round(midnight_ms + minutes * 60_000).astype(np.int64))
    return found[0], found[1]


def _sun(days_since_1970: F8) -> tuple[F8, F8]:
    """(declination in radians, equation of time in minutes) at instants given in days since 1970 UTC."""
    century = (days_since_1970 + 2440587.5 - 2451545.0) / 36525.0
    mean_longitude = np.radians((280.46646 + century * (36000.76983 + century * 0.0003032)) % 360.0)
    anomaly = np.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = (
        np.sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + np.sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + np.sin(3 * anomaly) * 0.000289
    )
    node = np.radians(125.04 - 1934.136 * century)
    apparent = np.radians(np.degrees(mean_longitude) + centre - 0.00569 - 0.00478 * np.sin(node))
    mean_obliquity = (
        23.0 + (26.0 + (21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))) / 60.0) / 60.0
    )
    obliquity = np.radians(mean_obliquity + 0.00256 * np.cos(node))
    declination = np.arcsin(np.sin(obliquity) * np.sin(apparent))
    y = np.tan(obliquity / 2) ** 2
    equation = 4 * np.degrees(
        y * np.sin(2 * mean_longitude)
        - 2 * eccentricity * np.sin(anomaly)
        + 4 * eccentricity * y * np.sin(anomaly) * np.cos(2 * mean_longitude)
        - 0.5 * y * y * np.sin(4 * mean_longitude)
        - 1.25 * eccentricity * eccentricity * np.sin(2 * anomaly)
    )
    return declination, equation
