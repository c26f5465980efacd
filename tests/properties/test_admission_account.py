"""Nothing disappears: for any mixture of batches, received = committed + duplicate + out_of_order + quarantined."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.cursor import Position
from ingest_service.admission import Message
from tests.city_of_tests import NOW_MS, admission, batch, lights, registry

KNOWN = registry()
rows = st.lists(
    st.tuples(
        st.sampled_from(["sl-1", "sl-2", "sl-9", "paju-1", "bin-1", "\x00"]),
        st.sampled_from([0, 1, 60, -90, -1000, 10**8]),
        st.dictionaries(
            st.sampled_from(["voltage", "power_state", "colour"]),
            st.sampled_from([None, 220.0, -1e30, "on", "x", True, 2**70]),
            max_size=2,
        ),
    ),
    max_size=4,
)
bodies = st.one_of(rows.map(lambda found: lights(*found)), st.binary(max_size=12))
headers = st.fixed_dictionaries(
    {
        "epoch": st.integers(1, 3),
        "seq": st.integers(0, 8),
        "floor": st.integers(0, 8),
        "first": st.integers(0, 40),
    },
    optional={"count": st.integers(0, 6)},
)
messages = st.lists(
    st.one_of(
        st.builds(
            lambda body, agent, header: batch(body, agent=agent, **header),
            bodies,
            st.sampled_from(["pole-01", "pole-02", "stranger"]),
            headers,
        ),
        st.builds(Message, st.sampled_from([batch(lights()).topic, "nonsense"]), st.binary(max_size=70)),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(messages, st.integers(1, 4))
def test_the_account_is_closed_and_does_not_depend_on_how_messages_are_cut_into_flushes(given_messages, pieces):
    def run(size):
        positions: dict = {}
        totals: dict = {}
        stored = held = 0
        for at in range(0, len(given_messages), size):
            flush = admission(KNOWN).admit(
                given_messages[at : at + size],
                lambda keys, known=positions: {key: known.get(key, Position()) for key in keys},
                NOW_MS,
            )
            for key, tally in flush.tallies.items():
                assert tally.received == tally.committed + tally.duplicate + tally.out_of_order + tally.quarantined
                assert tally.after.seq >= tally.before.seq == positions.get(key, Position()).seq
                positions[key] = tally.after
                sums = totals.setdefault(key, [0] * 6)
                for place, name in enumerate(
                    ("received", "committed", "duplicate", "out_of_order", "quarantined", "lost")
                ):
                    sums[place] += getattr(tally, name)
            stored += flush.committed
            held += sum(item.refusal.observations for item in flush.held)
        assert stored == sum(sums[1] for sums in totals.values())
        assert held == sum(sums[4] for sums in totals.values())
        return positions, totals

    assert run(pieces) == run(len(given_messages) or 1)
