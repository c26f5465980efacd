"""Metres between two points on the ellipsoid of WGS 84, by Vincenty's inverse formula: independent of the statement's.

source: Vincenty (1975), "Direct and inverse solutions of geodesics on the ellipsoid"; exact to half a millimetre.
"""

import math

A_M, F = 6_378_137.0, 1 / 298.257223563


def metres(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    b_m = A_M * (1 - F)
    u, v = (math.atan((1 - F) * math.tan(math.radians(item))) for item in (latitude, other_latitude))
    turn = math.radians((other_longitude - longitude + 540) % 360 - 180)
    angle = turn
    for _ in range(200):
        sine = math.hypot(
            math.cos(v) * math.sin(angle), math.cos(u) * math.sin(v) - math.sin(u) * math.cos(v) * math.cos(angle)
        )
        if sine == 0:
            return 0.0
        cosine = math.sin(u) * math.sin(v) + math.cos(u) * math.cos(v) * math.cos(angle)
        sigma = math.atan2(sine, cosine)
        azimuth = math.cos(u) * math.cos(v) * math.sin(angle) / sine
        squared = 1 - azimuth**2
        middle = cosine - 2 * math.sin(u) * math.sin(v) / squared if squared > 1e-15 else 0.0
        c = F / 16 * squared * (4 + F * (4 - 3 * squared))
        before, angle = (
            angle,
            turn + (1 - c) * F * azimuth * (sigma + c * sine * (middle + c * cosine * (-1 + 2 * middle**2))),
        )
        if abs(angle - before) < 1e-13:
            break
    else:
        raise ArithmeticError("does not converge")
    k = squared * (A_M**2 - b_m**2) / b_m**2
    big_a = 1 + k / 16384 * (4096 + k * (-768 + k * (320 - 175 * k)))
    big_b = k / 1024 * (256 + k * (-128 + k * (74 - 47 * k)))
    delta = big_b * sine * (
        middle
        + big_b / 4 * (
            cosine * (-1 + 2 * middle**2)
            - big_b / 6 * middle * (-3 + 4 * sine**2) * (-3 + 4 * middle**2)
        )
    )  # fmt: skip
    return b_m * big_a * (sigma - delta)
