"""Streetlights: photocells switch at civil twilight, drivers dim at night, circuits share the evening's load.

on:  when the sun is between -2 and -6 degrees in the evening, by the lamp's own photocell;
off: the same in the morning.
dimming: full until 00:00, 60 % until an hour before the photocell ends the night, full again (by minutes, lamps
differ).
power = rating x dimming x (V / 220)^1.2 + noise, standby when off; current = power / (V x power factor).
"""

import numpy as np

from firmware_sim import sun
from firmware_sim.physics.generic import Generic, Values
from firmware_sim.physics.population import DAY_MS, HOUR_MS, Population
from firmware_sim.randomness import F8, I8, keys_of, normal, smooth, uniform

SWITCH, MIDNIGHT, LATE, VOLT, POWER, STANDBY, FACTOR, DAILY, METER, FLOOR = range(20, 30)
NOMINAL_V = 220.0
LOAD_EXPONENT = 1.2  # between constant power (0) and a resistor (2): old drivers are not fully regulated
STANDBY_W = 1.6
DIMMED = 0.6
BOOT_MS = 75_000  # time from switching on to full light
# Mains drop of a feeder by local hour, in volts: cooking and light in the evening pull hardest.
# fmt: off
LOAD_V = np.array([0.6, 0.8, 1.0, 1.1, 1.0, 0.5, -0.4, -1.2, -1.4, -1.0, -0.8, -0.9,
    -1.2, -0.9, -0.8, -0.9, -1.3, -2.0, -3.0, -3.4, -3.1, -2.2, -1.0, 0.0])
# fmt: on
OFF, ON, LOW, BOOTING_UP = "off", "on", "low", "booting_up"


class Streetlight(Generic):
    """Lamps of one agent."""

    def __init__(self, population: Population) -> None:
        super().__init__(population)
        circuits = [
            str(row.get("circuit", name)) for row, name in zip(population.attributes, population.names, strict=True)
        ]
        self.circuit_keys = keys_of(population.seed, [f"{population.municipality}/circuit/{name}" for name in circuits])
        self.rating_w = population.attribute("power_rating", lambda i: 100.0)
        self.switch_deg = -2.0 - 4.0 * uniform(self.keys, SWITCH)
        self.power_factor = 0.93 + 0.05 * uniform(self.keys, FACTOR)
        self.feeder_v = 1.5 * normal(self.circuit_keys, FACTOR)
        self.meter_v = 0.5 * normal(self.keys, METER)
        names = self.profile.properties["power_state"].values
        self.states = np.array([names.index(name) for name in (OFF, ON, LOW, BOOTING_UP)])
        self._nights: dict[int, tuple[I8, I8]] = {}

    def values(self, device: I8, at_ms: I8) -> Values:
        return self.lamp(device, at_ms, *self._dimming(device, at_ms))

    def lamp(self, device: I8, at_ms: I8, dimming: F8, state: I8 | None = None) -> Values:
        """What lamps say that are dimmed so (0: dark); state: numbers of `_dimming`, full on or off by default."""
        keys = self.keys[device]
        volts = self._volts(device, at_ms)
        lit = dimming > 0
        noise = normal(keys, POWER, at_ms)
        full = self.rating_w[device] * dimming * np.exp(LOAD_EXPONENT * np.log(volts / NOMINAL_V)) * (1 + 0.006 * noise)
        power = np.where(lit, full, STANDBY_W + 0.25 * noise)
        factor = np.where(lit, self.power_factor[device], 0.45)
        return {
            "power_state": self.states[lit.astype(np.int64) if state is None else state],
            "illuminance_level": dimming,
            "power_consumption": power,
            "voltage": volts,
            "current": power / (volts * factor),
        }

    def _volts(self, device: I8, at_ms: I8) -> F8:
        circuit = self.circuit_keys[device]
        hours = (at_ms + self.population.offset_ms) / HOUR_MS % 24
        load = np.interp(hours, np.arange(25), np.append(LOAD_V, LOAD_V[0]))
        shared = (
            load
            + self.feeder_v[device]
            + 1.1 * smooth(circuit, VOLT, at_ms, 20 * 60_000)
            + 0.7 * smooth(circuit, DAILY, at_ms, 90_000)
        )
        volts: F8 = NOMINAL_V + shared + self.meter_v[device] + 0.35 * normal(self.keys[device], VOLT, at_ms)
        return volts

    def _dimming(self, device: I8, at_ms: I8) -> tuple[F8, I8]:
        """(dimming 0..1, state 0 off, 1 on, 2 low, 3 booting up) of each pair."""
        noon_to_noon = (at_ms + self.population.offset_ms - DAY_MS // 2) // DAY_MS
        dimming = np.zeros(len(at_ms))
        state = np.zeros(len(at_ms), dtype=np.int64)
        for night in np.unique(noon_to_noon).tolist():
            here = np.nonzero(noon_to_noon == night)[0]
            lamp, at = device[here], at_ms[here]
            dusk, dawn = self._night(night)
            since, left = at - dusk[lamp], dawn[lamp] - at
            lit = (since >= 0) & (left > 0)
            midnight = (night + 1) * DAY_MS - self.population.offset_ms
            minutes = (600_000 * uniform(self.keys, MIDNIGHT, night)).astype(np.int64)[lamp]
            dimmed = lit & (at >= midnight + minutes) & (left > HOUR_MS - minutes)
            booting = lit & (since < BOOT_MS)
            dimming[here] = np.where(booting, 0.3 + 0.7 * since / BOOT_MS, np.where(dimmed, DIMMED, 1.0)) * lit
            state[here] = np.where(lit, np.where(booting, 3, np.where(dimmed, 2, 1)), 0)
        return dimming, state

    def _night(self, day: int) -> tuple[I8, I8]:
        """(on, off) of each lamp for the night that begins on local day `day`."""
        if day not in self._nights:
            place = self.population.latitude, self.population.longitude
            clouds = 0.4 * normal(self.keys, LATE, np.array([day, day + 1])[:, None])  # a dark evening comes early
            dusk = sun.crossings_ms(day, *place, self.switch_deg + clouds[0])[1]
            dawn = sun.crossings_ms(day + 1, *place, self.switch_deg + clouds[1])[0]
            self._nights[day] = dusk, dawn
            while len(self._nights) > 4:
                self._nights.pop(next(iter(self._nights)))
        return self._nights[day]
