"""The one grammar of topics: what is built is parsed, what is not a topic is refused with the part that is wrong."""

import pytest

from contracts import topics
from contracts.topics import Channel, Topic, TopicError


def test_topics_round_trip():
    def check(topic, text):
        assert topics.build(topic) == text
        assert topics.parse(text) == topic

    check(Topic(7, "41280", "pole-07", Channel.BATCH), "dure/v1/07/41280/pole-07/batch")
    check(Topic(63, "goyang-si", "p", Channel.LIVE), "dure/v1/63/goyang-si/p/live")
    for channel in Channel:
        check(Topic(0, "41280", "pole-07", channel), f"dure/v1/00/41280/pole-07/{channel.value}")


def test_a_text_that_is_no_topic_is_refused_naming_the_wrong_part():
    def check(text, words):
        with pytest.raises(TopicError) as caught:
            topics.parse(text)
        assert repr(text) in str(caught.value)
        assert words in str(caught.value)

    check("", "not dure/v1/")
    check("dure/v2/07/41280/pole-07/batch", "not dure/v1/")
    check("dure/v1/07/41280/pole-07", "not dure/v1/")
    check("dure/v1/07/41280/pole-07/batch/more", "not dure/v1/")
    check("dure/v1/7/41280/pole-07/batch", "bad shard '7'")
    check("dure/v1/64/41280/pole-07/batch", "bad shard '64'")
    check("dure/v1/٠٧/41280/pole-07/batch", "bad shard")
    check("dure/v1/07//pole-07/batch", "bad municipality ''")
    check("dure/v1/07/41.280/pole-07/batch", "bad municipality '41.280'")
    check("dure/v1/07/+/pole-07/batch", "bad municipality '+'")
    check("dure/v1/07/41280/Pole/batch", "bad agent 'Pole'")
    check("dure/v1/07/41280/-pole/batch", "bad agent '-pole'")
    check("dure/v1/07/41280/pole-07\n/batch", "bad agent")
    check("dure/v1/07/41280/pole-07/cursors", "bad channel 'cursors'")


def test_an_agents_shard_is_the_same_on_every_machine_and_for_ever():
    assert topics.shard_of("41280", "pole-07") == 63
    assert topics.of_agent("41280", "pole-07", Channel.CURSOR) == "dure/v1/63/41280/pole-07/cursor"
    shards = {topics.shard_of("41280", f"pole-{number:04d}") for number in range(2000)}
    assert shards == set(range(topics.SHARDS))


def test_filters_cover_one_channel_of_all_or_of_some_shards():
    assert topics.filters(Channel.BATCH) == ["dure/v1/+/+/+/batch"]
    assert topics.filters(Channel.LIVE, municipality="41280") == ["dure/v1/+/41280/+/live"]
    assert topics.filters(Channel.BATCH, [0, 5]) == ["dure/v1/00/+/+/batch", "dure/v1/05/+/+/batch"]


def test_names_of_devices_may_hold_dots_and_capitals_but_nothing_that_a_topic_or_a_path_means():
    assert topics.is_device("SL:12.4_a-9")
    assert not any(topics.is_device(name) for name in ("", ".hidden", "a/b", "a b", "a\n", "a+", "x" * 129, "가로등"))
