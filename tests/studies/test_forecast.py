"""What a study's forecast counts, and what it counts only once."""

from pathlib import Path

import pytest
from test_study import ENGINE, tiny_study

from tench.config import Engine, Preprocessing, load_study
from tench.data.cache import decoded
from tench.data.sources import open_source
from tench.studies.entries import Choices, Entry, entries
from tench.studies.forecast import forecast


def test_decoding_is_counted_until_it_is_done(tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    source = open_source(tiny_folder)
    found, _ = entries(tiny_study(tiny_net), source, ENGINE, Choices(), None)
    before = forecast(found)
    assert before.decoding_s > 0
    assert before.total_s == pytest.approx(sum(before.seconds) + before.decoding_s)
    decoded(source, Preprocessing(height_px=16, width_px=16))
    assert forecast(found).decoding_s == 0


def test_features_that_two_entries_want_are_counted_once(tiny_net: Path, tiny_folder: Path) -> None:
    found, _ = entries(tiny_study(tiny_net, 'name = "a"'), open_source(tiny_folder), Engine(threads=1), Choices(), None)
    row, plan = load_study("study").rows[-1], found[0].plan
    expected = forecast([Entry("untrained", "untrained", row, plan), Entry("transfer", "transfer", row, plan)])
    per_picture_s = 2 * plan.network.counts(3, 16).macs / expected.flop_per_s
    # The 30 to be scored are the first one's; the second needs the 60 to learn from and select by, and finds those 30.
    assert expected.seconds == (pytest.approx(30 * per_picture_s), pytest.approx(60 * per_picture_s))
