"""Bytes an observation, header and body, of batches of 100 as the agent's own code fills and encodes them.

Why it is hot: an agent on a metered link pays for each byte, day and night, for years. The observations come from the
simulator, kind by kind and in a city's mix, and from recordings of real devices where those are present. Beside Dure's
stand the same batches as SenML JSON, SenML CBOR and Sparkplug B, plain and compressed with zstd and deflate; topics and
MQTT's own bytes are in none of them. Everything is decoded again and must be what it was at the profiles' decimals.
"""

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from contracts import profiles as kinds
from contracts import wire
from edge.sealing import Batch, Sealing, Waiting
from firmware_sim import fleet as fleets
from firmware_sim.city import City
from firmware_sim.recordings import recording, recording_map
from firmware_sim.recordings.stream import RecordedBlocks
from firmware_sim.stream import Stream
from tests.benchmarks.encodings import ENCODINGS, Known, Observation, Profiles, observations, same
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import ROOT

BATCH = 100
START_MS = 1_767_250_800_000  # 1 January 2026, 16:00 in Seoul: the lamps come on within two hours
GROUP_MS = 1000
RECORDINGS = {
    "garages_de": "parking_garages_de/free_spaces_2026-06-01_2026-06-14.csv.gz",
    "birmingham": "parking_birmingham/birmingham_2016-10-04_2016-11-13.csv.gz",
    "edinburgh": "bins_edinburgh/enevo_collections_sites_mod3_1_2.csv.gz",
}
PACKERS = {"": bytes, " + zstd": zstandard.ZstdCompressor(level=3).compress, " + deflate": zlib.compress}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batches", type=int, default=200, help="of each source (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=200, help="of an agent (default: %(default)s)")
    parser.add_argument(
        "--recordings",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "city",
        metavar="DIR",
        help="recordings of real devices, if there are any (docs/guides/recordings.md)",
    )


def run(options: argparse.Namespace) -> list[Case]:
    profiles = kinds.load(environ={})
    cases = []
    for source, batches in sources(options, profiles):
        cases += compare(source, batches, profiles)
        progress(f"{source}: {cases[-len(ENCODINGS) * len(PACKERS)].value:.1f} B an observation")
    return cases


def sources(options: argparse.Namespace, profiles: Profiles) -> Iterator[tuple[str, list[Batch]]]:
    """(name, full batches) of each source."""
    mix = fleets.make(options.devices, 1, 1, ["41280"])
    for kind in [*fleets.MIX, "mix"]:
        # A fleet of one kind: that kind's devices of a fleet large enough to have as many of them.
        chosen = mix
        if kind != "mix":
            share = fleets.MIX[kind]
            made = fleets.make(int(options.devices / share) + 1, 1, 1, ["41280"])
            devices = [row for row in made["devices"] if row["kind"] == kind][: options.devices]
            chosen = {**made, "devices": devices}
        city = City(chosen, profiles, 1, START_MS, GROUP_MS)
        (stream,) = city.streams.values()
        yield f"simulated, {kind}", sealed(stream, options.batches)
    for name, file in RECORDINGS.items():
        if not (options.recordings / file).exists():
            progress(f"no recording {file}")
            continue
        found = recording_map.read(recording_map.find(name), profiles)
        recorded = recording.read(options.recordings / file, found, profiles[found.kind])
        blocks = RecordedBlocks.of(recorded, 0, GROUP_MS)
        largest = max(blocks.values(), key=lambda one: len(one.block(0)))
        yield f"recorded, {name}", sealed(Stream(largest), options.batches)


def sealed(stream: Stream, batches: int) -> list[Batch]:
    """The first full batches that an agent makes of a stream, by the agent's own code."""
    sealing = Sealing(Waiting(), next_seq=1, next_number=1, batch_observations=BATCH, clock_ms=START_MS)
    place = stream.place(0)
    while len(sealing.sealed) < batches:
        read = stream.read(place, 1 << 53)
        if read is None:
            break
        observed, _, clock_ms = read
        sealing.clock_ms = clock_ms
        sealing.add(observed, clock_ms)
    return [batch for batch in sealing.sealed if batch.count == BATCH][:batches]


def compare(source: str, batches: list[Batch], profiles: Profiles) -> list[Case]:
    """Dure's bytes an observation against each other encoding's; every one is decoded and compared."""
    known, count = Known(), sum(batch.count for batch in batches)
    dure, others = 0, {(one.name, packer): 0 for one in ENCODINGS for packer in PACKERS}
    for batch in batches:
        groups = wire.decode_body(batch.body)
        known.learn(groups, profiles)
        header = wire.Header(1 << 62, batch.seq, 1, 1 << 31, batch.first, batch.count, batch.clock_ms, START_MS, 0)
        message = wire.pack(header, batch.body)
        dure += len(message)
        told = list(observations(groups))
        _check(source, "dure", told, list(observations(wire.decode_body(wire.unpack(message)[1]))), profiles, known)
        for one in ENCODINGS:
            data = one.encode(groups, profiles, known)
            _check(source, one.name, told, one.decode(data, profiles, known), profiles, known)
            for packer, pack in PACKERS.items():
                others[one.name, packer] += len(pack(data))
    of = f"{len(batches)} batches of {BATCH}"
    return [
        case(f"dure, {source}", dure / count, "B/observation", against=(name + packer, total / count), of=of)
        for (name, packer), total in others.items()
    ]


def _check(
    source: str, name: str, told: list[Observation], found: list[Observation], profiles: Profiles, known: Known
) -> None:
    """Raise Wrong when the observations are not the same."""
    expected = {(device, at): values for device, at, values in told if values}
    read = {(device, at): values for device, at, values in found if values}
    if expected.keys() != read.keys():
        raise Wrong(f"{source}, {name}: {len(expected.keys() ^ read.keys())} observations differ")
    for key, values in expected.items():
        properties = profiles[known.kind_of[key[0]]].properties
        there = read[key]
        if values.keys() != there.keys() or not all(
            same(properties[item].decimals, value, there[item]) for item, value in values.items()
        ):
            raise Wrong(f"{source}, {name}: {key}: {values} became {there}")
