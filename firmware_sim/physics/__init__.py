"""How devices of a kind behave: when they report and what they would measure, at any instant asked for.

Promise: `instants` and `values` are pure functions of (seed, device, time); no call depends on an earlier one, and
what a kind remembers (a day of parking, a week of collections) is rebuilt from the seed and only cached. A kind
without physics of its own gets `generic`, made from its profile alone. Faults and rounding are not decided here.
"""

from firmware_sim.physics.generic import Generic
from firmware_sim.physics.off_street_parking import OffStreetParking
from firmware_sim.physics.parking_spot import ParkingSpot
from firmware_sim.physics.population import Population
from firmware_sim.physics.streetlight import Streetlight
from firmware_sim.physics.waste_container import WasteContainer

PHYSICS: dict[str, type[Generic]] = {
    "streetlight": Streetlight,
    "waste_container": WasteContainer,
    "parking_spot": ParkingSpot,
    "off_street_parking": OffStreetParking,
}


def physics_of(population: Population) -> Generic:
    """The behaviour of these devices of one kind."""
    return PHYSICS.get(population.profile.kind, Generic)(population)
