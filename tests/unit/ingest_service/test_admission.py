"""Every reason of the closed list is reached, and the load around what is refused goes on."""

import json

import numpy as np
import zstandard

from contracts import wire
from contracts.cursor import Position
from contracts.reasons import Reason
from ingest_service.admission import Flush, Message
from tests.city_of_tests import NOW_MS, admission, batch, lights, nothing_committed, registry

GOOD = ("sl-2", 60, {"voltage": 221.0})
YEAR_S = 365 * 86_400


def admit(*messages, positions=nothing_committed, refuse=None) -> Flush:
    flush = admission(registry()).admit(messages, positions, NOW_MS, refuse=refuse)
    for tally in flush.tallies.values():
        assert tally.received == tally.committed + tally.duplicate + tally.out_of_order + tally.quarantined
    return flush


def only_refusal(flush):
    assert len(flush.held) == 1, [held.refusal for held in flush.held]
    return flush.held[0].refusal


def one_bad_row(groups, reason, words, agent="pole-01"):
    """One of two observations is refused for this reason and the other is stored."""
    flush = admit(batch(groups, agent=agent))
    refusal = only_refusal(flush)
    assert refusal.reason is reason
    assert words in refusal.detail
    assert refusal.content["values"] is not None
    assert flush.committed == 1
    (tally,) = flush.tallies.values()
    assert (tally.committed, tally.quarantined, tally.after) == (1, 1, Position(1, 3))
    return refusal


def whole_batch(message, reason, words=""):
    """The batch goes to quarantine whole, the cursor passes it, and the batch of another agent is stored."""
    other = batch(lights(GOOD), agent="pole-02")
    flush = admit(message, other)
    refusal = only_refusal(flush)
    assert refusal.reason is reason
    assert words in refusal.detail
    assert refusal.body
    assert flush.committed == 1
    tally = flush.tallies[11, 1]
    assert tally.after.seq == 1
    assert tally.quarantined == tally.received == refusal.observations
    return refusal


def test_good_observations_become_columns_of_the_databases_types():
    flush = admit(batch(lights(("sl-1", 9, {"power_state": "on", "voltage": 220.1}), ("sl-2", 8, {"current": 0.25}))))
    (block,) = flush.blocks
    assert block.device_id.tolist() == [101, 102]
    assert block.observed_ms.tolist() == [NOW_MS - 9000, NOW_MS - 8000]
    assert block.columns["power_state"].tolist() == [1, -1]
    assert block.columns["voltage"].dtype == np.float32
    assert block.columns["voltage"][0] == np.float32(220.1)
    assert np.isnan(block.columns["voltage"][1])
    assert flush.taken == {NOW_MS - 50: 2}
    assert not flush.held


def test_an_unknown_device_is_held_with_its_values():
    refusal = one_bad_row(lights(("sl-9", 60, {"voltage": 220.0}), GOOD), Reason.UNKNOWN_DEVICE, "'sl-9'")
    assert refusal.content == {
        "kind": "streetlight", "device": "sl-9", "observed_at": NOW_MS - 60_000, "values": {"voltage": 220.0},
    }  # fmt: skip


def test_another_municipalitys_device_is_held():
    one_bad_row(lights(("paju-1", 60, {}), GOOD), Reason.FOREIGN_DEVICE, "not of municipality 41280")


def test_a_device_of_another_kind_is_held():
    one_bad_row(lights(("bin-1", 60, {}), GOOD), Reason.KIND_MISMATCH, "another kind than streetlight")


def test_an_unknown_kind_is_held():
    groups = lights(GOOD) | {"toaster": {"device": ["t"], "observed_at": [NOW_MS], "heat": [{"very": ["hot"]}]}}
    assert one_bad_row(groups, Reason.UNKNOWN_KIND, "'toaster' has no profile").kind == "toaster"


def test_an_implausible_value_is_held_and_a_merely_odd_one_is_stored():
    one_bad_row(lights(("sl-1", 60, {"voltage": 1000.5}), GOOD), Reason.IMPLAUSIBLE_VALUE, "voltage = 1000.5")
    one_bad_row(lights(("sl-1", 60, {"voltage": 1e300}), GOOD), Reason.IMPLAUSIBLE_VALUE, "voltage = inf")
    assert admit(batch(lights(("sl-1", 60, {"voltage": 999.0})))).committed == 1


def test_a_time_a_year_off_is_held_either_way_but_a_replay_may_send_any_past():
    one_bad_row(lights(("sl-1", -YEAR_S, {}), GOOD), Reason.TOO_FAR_AHEAD, "later than")
    one_bad_row(lights(("sl-1", YEAR_S, {}), GOOD), Reason.TOO_LONG_AGO, "earlier than")
    assert admit(batch(lights(("sl-1", YEAR_S, {})), agent="old-01")).committed == 1
    one_bad_row(lights(("sl-1", -YEAR_S, {}), GOOD), Reason.TOO_FAR_AHEAD, "later than", agent="old-01")


def test_a_time_that_no_database_can_hold_is_held_without_it():
    for odd in (-(2**62) + 1, 2**61, -(10**17)):
        groups = lights(("sl-1", 60, {}), GOOD)
        groups["streetlight"]["observed_at"][0] = odd
        assert one_bad_row(groups, Reason.TOO_FAR_AHEAD if odd > 0 else Reason.TOO_LONG_AGO, "").observed_ms is None
    groups["streetlight"]["observed_at"][0] = 10**30
    assert one_bad_row(groups, Reason.WRONG_TYPE, "not milliseconds").observed_ms is None


def test_a_value_of_the_wrong_type_is_held():
    one_bad_row(lights(("sl-1", 60, {"voltage": "220"}), GOOD), Reason.WRONG_TYPE, "voltage = '220'")
    one_bad_row(lights(("sl-1", 60, {"voltage": True}), GOOD), Reason.WRONG_TYPE, "voltage = True")
    one_bad_row(lights(("sl-1", 60, {"voltage": [1]}), GOOD), Reason.WRONG_TYPE, "voltage = [1]")
    one_bad_row(lights(("sl-1", 60, {"power_state": 1}), GOOD), Reason.WRONG_TYPE, "power_state = 1")
    groups = lights(("sl-1", 60, {}), GOOD)
    groups["streetlight"]["device"][0] = 7
    assert one_bad_row(groups, Reason.WRONG_TYPE, "device = 7").device is None
    groups = lights(("sl-1", 60, {}), GOOD)
    groups["streetlight"]["observed_at"][0] = "noon"
    one_bad_row(groups, Reason.WRONG_TYPE, "observed_at = 'noon'")


def test_an_unknown_property_or_word_is_held():
    one_bad_row(lights(("sl-1", 60, {"colour": 3}), GOOD), Reason.UNKNOWN_PROPERTY, "colour = 3")
    one_bad_row(lights(("sl-1", 60, {"power_state": "dim"}), GOOD), Reason.UNKNOWN_VALUE, "power_state = 'dim'")


def test_an_integer_beyond_the_column_is_implausible_and_not_wrapped():
    groups = {"off_street_parking": {"device": ["garage-1"] * 2, "observed_at": [NOW_MS, NOW_MS - 1]}}
    groups["off_street_parking"]["available_spot_number"] = [2**40, -3]
    flush = admit(batch(groups))
    assert only_refusal(flush).reason is Reason.IMPLAUSIBLE_VALUE
    assert flush.blocks[0].columns["available_spot_number"].tolist() == [-3]


def test_a_body_that_cannot_be_read_is_held_whole_and_the_cursor_passes():
    whole_batch(batch(b"{}{", count=9), Reason.MALFORMED_BODY, "cannot decode body")
    whole_batch(batch(b'{"streetlight":{"device":["a"],"observed_at":[1,2]}}'), Reason.MALFORMED_BODY, "unequal length")
    good = batch(lights(GOOD))
    altered = Message(good.topic, good.payload[:-1] + bytes([good.payload[-1] ^ 1]))
    whole_batch(altered, Reason.MALFORMED_BODY, "checksum")


def test_too_large_bodies_and_bombs_are_held_whole():
    whole_batch(batch(bytes(wire.MAX_BODY_BYTES + 1)), Reason.TOO_LARGE)
    whole_batch(batch(zstandard.ZstdCompressor().compress(bytes(1 << 26))), Reason.TOO_LARGE, "when decompressed")


def test_another_number_of_observations_than_announced_is_held_whole():
    whole_batch(batch(lights(GOOD, GOOD), count=3), Reason.COUNT_MISMATCH, "3 observations announced, 2 found")
    whole_batch(
        batch(lights(("sl-1", 0, {"voltage": "x"})), count=3), Reason.COUNT_MISMATCH, "3 observations announced, 1"
    )
    many = json.dumps({"streetlight": {"device": ["sl-1"] * 100_000, "observed_at": [1] * 100_000}}).encode()
    whole_batch(batch(zstandard.ZstdCompressor().compress(many)), Reason.COUNT_MISMATCH, "100000 found")


def test_what_the_database_refused_is_held_with_its_words():
    flush = admit(batch(lights(GOOD, ("sl-1", 1, {}))), refuse='violates check constraint "odd"')
    refusal = only_refusal(flush)
    assert (refusal.reason, refusal.observations) == (Reason.REFUSED_BY_DATABASE, 2)
    assert 'violates check constraint "odd"' in refusal.detail
    assert not flush.blocks


def test_a_message_without_a_readable_header_is_held_and_moves_no_cursor():
    flush = admit(Message(batch(lights(GOOD)).topic, b"hello"), batch(lights(GOOD), agent="pole-02"))
    assert only_refusal(flush).reason is Reason.MALFORMED_HEADER
    assert flush.malformed == 1
    assert list(flush.tallies) == [(12, 1)]
    assert flush.committed == 1


def test_strangers_are_noted_by_topic_and_never_answered():
    def check(message, reason, words):
        flush = admit(message, batch(lights(GOOD), agent="pole-02"))
        assert flush.strangers[message.topic][0] is reason
        assert words in flush.strangers[message.topic][1]
        assert list(flush.tallies) == [(12, 1)]
        assert flush.committed == 1

    check(batch(lights(GOOD), agent="pole-99"), Reason.UNKNOWN_AGENT, "41280/pole-99 is not registered")
    check(batch(lights(GOOD), town="99999"), Reason.UNKNOWN_MUNICIPALITY, "99999/pole-01 is not registered")
    check(batch(lights(GOOD), shard=1), Reason.UNKNOWN_AGENT, "the agent's shard is")
    check(Message("dure/v1/07/41280/batch", b""), Reason.MALFORMED_HEADER, "cannot parse topic")


def test_every_reason_of_the_list_is_reached_by_a_test_of_this_file():
    source = open(__file__, encoding="utf-8").read()  # noqa: PTH123, SIM115
    assert [reason.name for reason in Reason if f"Reason.{reason.name}" not in source] == []


def test_duplicates_and_gaps_are_counted_and_answered_from_where_the_cursor_stands():
    at_two = lambda keys: dict.fromkeys(keys, Position(2, 3))  # noqa: E731
    flush = admit(
        batch(lights(GOOD), seq=2),
        batch(lights(GOOD, GOOD), seq=5, first=6),
        batch(lights(GOOD), seq=3, first=3),
        batch(b"broken", seq=2, count=4),
        positions=at_two,
    )
    (tally,) = flush.tallies.values()
    assert (tally.received, tally.committed, tally.duplicate, tally.out_of_order) == (8, 1, 5, 2)
    assert tally.gap
    assert not any(tally.gap for tally in admit(batch(lights(GOOD))).tallies.values())
    assert (tally.before, tally.after) == (Position(2, 3), Position(3, 4))
    assert not flush.held


def test_a_batch_at_its_floor_is_taken_and_the_loss_counted():
    flush = admit(batch(lights(GOOD), seq=9, floor=9, first=801))
    assert flush.tallies[11, 1].lost == 800
    assert flush.tallies[11, 1].after == Position(9, 802)


def test_a_heartbeat_tells_the_clock_and_asks_for_the_cursor():
    flush = admit(batch(b"", seq=0, count=0, first=0, floor=0, clock_ms=NOW_MS - 7))
    (tally,) = flush.tallies.values()
    assert (tally.received, tally.backlog, tally.clock_ms, tally.nonce) == (0, 0, NOW_MS - 7, 5)
    assert list(flush.clocks.values()) == [NOW_MS - 7]


def test_a_heartbeat_with_a_backlog_tells_no_clock_or_every_device_behind_it_would_be_silent():
    flush = admit(batch(b"", seq=0, count=0, first=0, floor=0, backlog=70))
    assert [tally.backlog for tally in flush.tallies.values()] == [70]
    assert flush.clocks == {}


def test_a_heartbeat_that_counts_further_than_the_cursor_tells_no_clock_for_the_database_was_restored():
    flush = admit(batch(b"", seq=0, count=0, first=3, floor=0))
    assert [tally.after for tally in flush.tallies.values()] == [Position(0, 1)]  # it is answered, and will send again
    assert flush.clocks == {}
    assert admit(batch(b"", seq=0, count=0, first=1, floor=0)).clocks != {}


def test_a_clock_that_ran_ahead_is_held_to_what_is_believed_of_observations():
    flush = admit(batch(lights(GOOD), clock_ms=NOW_MS + 1000 * YEAR_S))
    assert list(flush.clocks.values()) == [NOW_MS + 120_000]


def test_what_an_operator_asks_back_is_judged_by_the_registry_of_now_and_any_time_is_believed():
    known = registry()
    content = lambda **fields: {"kind": "streetlight", "device": "sl-9", "observed_at": 10**12, "values": {}} | fields  # noqa: E731
    agent = known.agent("41280", "pole-01")
    flush = admission(known).admit([], nothing_committed, NOW_MS)
    assert admission(known).readmit(agent, content(), flush).reason is Reason.UNKNOWN_DEVICE
    known.put_device(900, "41280", "sl-9", "streetlight")
    assert admission(known).readmit(agent, content(values={"voltage": 5}), flush) is None
    assert admission(known).readmit(agent, content(values={"voltage": "5"}), flush).reason is Reason.WRONG_TYPE
    assert admission(known).readmit(agent, {}, flush).reason is Reason.UNKNOWN_KIND
    assert [block.device_id.tolist() for block in flush.blocks] == [[900]]
