"""Rows beside float: their cells are the numbers, and what chance does not explain stands out."""

from __future__ import annotations

from typing import Any

from stablequant.report.breakdowns import buckets, conditions, edges


def row(**values: Any) -> dict[str, Any]:
    told = {"rate": 5.0, "rate_interval": [4.0, 6.0], "float_rate": 4.0, "delta": 1.0, "delta_interval": [0.5, 1.5]}
    return told | values


def test_conditions_tell_both_rates_the_difference_and_alarms() -> None:
    noisy = {"condition": "noise:10", "about": "hiss", "utterances": 9, "alarms": ["int8: 3 are empty"]}
    quiet = {"condition": "silence:40", "about": "", "utterances": 9, "alarms": []}
    float_alone = noisy | {"condition": "reverb:0.6", "float": {"metric": "WER", "rate": 4.0}, "int8": None}
    found = conditions(
        [
            noisy | {"float": {"metric": "WER", "rate": 4.0}, "int8": row(metric="WER")},
            quiet | {"float": None, "int8": {"metric": "words a minute", "rate": 2.0}},
            float_alone,
        ]
    )
    assert found[0].cells == ("4.00", "5.00", "+1.00", "+0.50 to +1.50")
    assert (found[0].about, found[0].alarms) == ("hiss", ("int8: 3 are empty",))
    assert "dot worse" in found[0].plot
    assert (found[1].name, found[1].cells) == ("silence:40 (words a minute)", ("", "2.00", "", ""))
    assert found[2].cells == ("4.00", "", "", "")


def test_a_trait_that_all_share_is_left_out_and_few_words_prove_nothing() -> None:
    short = row(bucket="below 2 s", utterances=2, units=9.0, few=True)
    long = row(bucket="2 to 5 s", utterances=3, units=200.0, few=False, delta=-1.0, delta_interval=[-1.5, -0.5])
    found = buckets({"buckets": {"duration": [short, long], "speaker": [short]}})
    assert [(name, [r.name for r in rows]) for name, rows in found] == [("Length", ["below 2 s", "2 to 5 s"])]
    ((_, (few, better)),) = found
    assert (few.few, "dot plain" in few.plot) == (True, True)
    assert "dot accent" in better.plot
    assert better.count == "3 / 200"


def test_ends_of_recordings_are_rows_where_there_are_any() -> None:
    found = edges({"edges": {"first": row(words=7, errors=1), "added_before": {"words": 1}}})
    assert [(r.name, r.count) for r in found] == [("first word", "7")]
    assert edges({"edges": {}}) == []
