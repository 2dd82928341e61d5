"""Recipes over their seeds, and ties between runs: against tables, enumeration and drawings by hand."""

import shutil
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from tench.comparison import Pair, compare, compare_seeds, results_table, score, with_ties
from tench.comparison.arms import arms_of, compare_arms, told_apart, uncompared
from tench.comparison.seeds import corrected, least_sign_flip_p, paired_t, paired_t_p, sign_flip
from tench.errors import UsageError
from tench.records import Run
from test_comparison import record, result_of, run_of


def test_the_paired_t_interval_is_that_of_the_tables() -> None:
    """t(0.975, 4) = 2.776; mean 3, sd sqrt(2.5), n 5."""
    assert paired_t([1, 2, 3, 4, 5]) == pytest.approx((3 - 2.7764 * 0.70711, 3 + 2.7764 * 0.70711), abs=1e-3)


@pytest.mark.parametrize(
    "differences", [(0.01, 0.02, 0.03), (0.01, -0.02, 0.03, 0.005), (0.0, 0.0, 0.01), (-0.02, -0.02, -0.02, -0.02, -0.02, -0.02)]
)
def test_sign_flip_is_what_all_patterns_give(differences: tuple[float, ...]) -> None:
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=len(differences))]
    assert sign_flip(differences) == sum(total >= abs(sum(differences)) - 1e-12 for total in sums) / len(sums)
    assert sign_flip(differences) >= least_sign_flip_p(len(differences))


def test_the_least_p_is_that_of_the_issue() -> None:
    assert [least_sign_flip_p(n) for n in (3, 5, 6)] == [0.25, 0.0625, 0.03125]


@pytest.mark.parametrize(
    ("differences", "claimed", "verdict"),
    [
        ((0.05, 0.06, 0.055), 1, "supported"),
        ((0.05, 0.06, 0.055), -1, "contradicted"),
        ((0.001, -0.001, 0.0), 1, "no difference that matters"),
        ((0.05, -0.06, 0.02), 1, "open"),
        ((0.05, 0.06, 0.055), None, "different"),
        ((-0.05, -0.06, -0.055), None, "different"),
    ],
)
def test_verdicts(differences: tuple[float, ...], claimed: int | None, verdict: str) -> None:
    a = {seed: 0.5 + difference for seed, difference in enumerate(differences)}
    found = compare_seeds(a | {9: 0.1}, dict.fromkeys(range(3), 0.5), "A", "B", claimed)
    assert found.verdict == verdict
    assert found.seeds == (0, 1, 2), "only seeds that both have"
    assert found.sentence.startswith(verdict[0].upper() + verdict[1:])
    if verdict == "open":
        assert f"could have shown a gap of {100 * found.half_width:.2f} points" in found.sentence


@pytest.mark.parametrize("differences", [(0.05, 0.06, 0.055), (0.05, -0.06, 0.03)])
def test_a_finding_reads_the_same_whichever_arm_is_named_first(differences: tuple[float, ...]) -> None:
    a = {seed: 0.5 + difference for seed, difference in enumerate(differences)}
    b = dict.fromkeys(range(3), 0.5)
    found, turned = compare_seeds(a, b, "A", "B"), compare_seeds(b, a, "B", "A")
    assert found.sentence == turned.sentence
    assert "A is " in turned.sentence
    assert f"{100 * found.low:+.2f} to {100 * found.high:+.2f} points, paired by seed" in turned.sentence


def test_one_seed_says_nothing_of_recipes() -> None:
    with pytest.raises(UsageError, match="at least two"):
        compare_seeds({0: 0.5}, {0: 0.6, 1: 0.5}, "A", "B")


def test_the_p_of_a_mean_is_that_of_the_tables_and_of_its_interval() -> None:
    """t = 3 / (sqrt(2.5) / sqrt(5)) = 4.243 with 4 degrees of freedom: p 0.0132."""
    assert paired_t_p([1, 2, 3, 4, 5]) == pytest.approx(0.0132, abs=5e-5)
    for confidence in (0.8, 0.95, 0.999):
        low, high = paired_t([1, 2, 3, 4, 5], confidence)
        assert (low > 0 or high < 0) == (paired_t_p([1, 2, 3, 4, 5]) < 1 - confidence)


def test_equal_differences_of_few_pictures_are_no_certainty() -> None:
    """40 and 35 of 50 pictures, 39 and 34: the interval has no width, which says nothing of other seeds."""
    found = compare_seeds({0: 40 / 50, 1: 35 / 50}, {0: 39 / 50, 1: 34 / 50}, "A", "B", claimed=1)
    assert (found.verdict, found.p_t, found.wants_more_seeds) == ("open", 1, True)
    assert found.sentence.endswith("All differences are equal, so these seeds do not say how far others would lie apart.")
    equal = compare_seeds({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}, "A", "B")
    assert (equal.verdict, equal.p_t) == ("open", 1)


def test_comparisons_made_together_are_corrected_together() -> None:
    """By itself 2 % is beyond chance; of two comparisons, the other at 90 %, it is 4 %, of three 6 %."""
    half = dict.fromkeys(range(3), 0.5)
    clear = compare_seeds({0: 0.53, 1: 0.54, 2: 0.55}, half, "A", "B")
    none = compare_seeds({0: 0.53, 1: 0.47, 2: 0.501}, half, "C", "B")
    assert clear.p_t == pytest.approx(0.0202, abs=1e-4)
    assert (clear.p_holm, clear.together, clear.may_be_chance) == (clear.p_t, 1, False)
    assert "made together" not in clear.sentence
    both = corrected([none, clear])
    assert [found.p_holm for found in both] == pytest.approx([none.p_t, 2 * clear.p_t])
    assert not both[1].may_be_chance
    assert both[1].sentence.endswith("among the 2 comparisons made together too: the t test's p is 0.02, corrected by Holm 0.04.")
    three = corrected([none, clear, none])[1]
    assert (three.verdict, three.low, three.may_be_chance) == ("different", clear.low, True)
    assert three.sentence.endswith("comparisons made together it may be chance: the t test's p is 0.02, corrected by Holm 0.061.")
    assert "may be chance" not in both[0].sentence, "what is open stays open"


def test_more_seeds_are_wanted_whatever_was_found() -> None:
    half = dict.fromkeys(range(3), 0.5)
    for half_width, wanted in ((0.0099, False), (0.0101, True)):
        sd = half_width * 3**0.5 / 4.302653  # t(0.975, 2)
        for mean in (-0.1, 0.0, 0.1):
            found = compare_seeds({0: 0.5 + mean - sd, 1: 0.5 + mean, 2: 0.5 + mean + sd}, half, "A", "B")
            assert (found.half_width, found.wants_more_seeds) == (pytest.approx(half_width, rel=1e-4), wanted)


def pair(a: str, b: str, p_holm: float) -> Pair:
    return Pair(a, b, 100, 50, 50, 5, 5, p_holm, p_holm, "test", -0.1, 0.1)


def test_runs_share_a_letter_if_and_only_if_they_are_tied() -> None:
    records = [record("best", 90), record("middle", 85), record("worst", 80), record("alone", 10)]
    ids = [r.run_id for r in records]
    far, near = 0.001, 0.5
    pairs = [pair(ids[0], ids[1], near), pair(ids[1], ids[2], near), pair(ids[0], ids[2], far)]
    pairs += [pair(ids[3], other, far) for other in ids[:3]]
    table = with_ties(results_table(records), pairs)
    assert [(row.name, row.ties) for row in table.rows] == [("best", "a"), ("middle", "ab"), ("worst", "b"), ("alone", "c")]


def test_letters_of_many_runs_that_are_all_tied_take_no_time() -> None:
    records = [record(f"run {number}", 50) for number in range(40)]
    ids = [one.run_id for one in records]
    apart = {(ids[0], ids[1]), (ids[2], ids[3])}
    pairs = [pair(a, b, 0.001 if (a, b) in apart else 0.5) for a, b in combinations(ids, 2)]
    letters = {row.run_id: row.ties for row in with_ties(results_table(records), pairs).rows}
    assert all(bool(set(letters[a]) & set(letters[b])) == ((a, b) not in apart) for a, b in combinations(ids, 2))
    assert len({letter for found in letters.values() for letter in found}) == 4


def seeded(folder: Path, name: str, correct: int, seed: int, **changes: Any) -> Run:
    changes["options"] = {"seed": seed} | changes.get("options", {})
    changes["result"] = result_of(correct, 20, **changes.pop("scores", {}))
    return run_of(folder, name, "1" * correct + "0" * (20 - correct), seed=seed, **changes)


def test_compare_speaks_of_recipes_where_there_are_seeds(tmp_path: Path) -> None:
    right = {"A": (15, 16, 17), "B": (5, 7, 6)}
    runs = [seeded(tmp_path, name, correct, seed) for name in right for seed, correct in enumerate(right[name])]
    found = compare(runs)
    assert len(found.pairs) == 15
    (arms,) = found.arms
    assert (arms.a, arms.b, arms.seeds, arms.verdict) == ("A", "B", (0, 1, 2), "different")
    assert arms.mean == pytest.approx(0.5)
    assert compare(runs[:1] + runs[3:4]).arms == (), "one seed of each"
    letters = {row.run_id: row.ties for row in found.table.rows if row.kind == "run"}
    assert set(letters) == {run.id for run in runs}
    assert all(letters.values())


def test_runs_of_one_id_that_differ_in_precision_are_told_apart_and_none_is_dropped(tmp_path: Path) -> None:
    """The id leaves the engine out; the folders tell which is which."""
    precise = [seeded(tmp_path / "precise", "A", 15 + seed, seed, engine={"precision": "float32"}) for seed in (0, 1)]
    fast = [seeded(tmp_path / "fast", "A", 10 + seed, seed, engine={"precision": "bfloat16"}) for seed in (0, 1)]
    assert {run.id for run in precise} == {run.id for run in fast}
    found = compare([*precise, *fast])
    assert len(found.pairs) == 6
    assert {pair.a.split("/")[-2] for pair in found.pairs} == {"precise", "fast"}
    (arms,) = found.arms
    assert "float32" in arms.a
    assert "bfloat16" in arms.b
    assert arms.mean == pytest.approx(0.25)
    said = "A has runs in float32 (seeds 0, 1) and in bfloat16 (seeds 0), which count as two recipes."
    assert said in compare([*precise, fast[0]]).table.warnings, "what is not counted is not left out without a word"
    assert "two recipes" not in " ".join(found.table.warnings), "these are compared"


def test_trainings_of_one_id_in_folders_of_one_name_are_told_apart_by_more_of_their_paths(tmp_path: Path) -> None:
    hours = {"x": "2026-11-25T03:08:25+00:00", "y": "2026-11-25T04:08:25+00:00"}
    twice = [seeded(tmp_path / place / "work" / "runs", "A", 15, 0, created=hours[place]) for place in hours]
    first, second = told_apart(twice)
    assert (first.id.split("/")[:-1], second.id.split("/")[:-1]) == (["x", "work", "runs"], ["y", "work", "runs"])


def test_an_arm_with_two_runs_of_one_seed_is_named(tmp_path: Path) -> None:
    hours = {"x": "2026-11-25T03:08:25+00:00", "y": "2026-11-25T04:08:25+00:00"}
    twice = [seeded(tmp_path / place, "A", 15, seed, created=hours[place]) for place, seed in (("x", 0), ("y", 0), ("x", 1))]
    found = compare([*twice, *(seeded(tmp_path, "B", 5, seed) for seed in (0, 1))])
    assert found.arms == ()
    assert any(warning.startswith("A has two runs of one seed (0, 0, 1)") for warning in found.table.warnings)


def test_a_copy_of_a_run_counts_once(tmp_path: Path) -> None:
    made = [seeded(tmp_path / "runs", name, correct, seed) for name, correct in (("A", 15), ("B", 5)) for seed in (0, 1)]
    copied = [Run.read(Path(shutil.copytree(run.folder, tmp_path / "published" / run.id))) for run in made[:3]]
    copied[0].update(study="another")
    assert compare([*made, *copied]) == compare(made)
    assert [run.folder for run in told_apart([*made, *copied])] == [run.folder for run in made], "of copies the first"


def test_among_what_no_pretraining_saw_arms_are_compared_on_that(tmp_path: Path) -> None:
    pretrained = {"network": {"weights_sha256": "a" * 64}, "unseen": "1" * 4 + "0" * 16}
    runs = [seeded(tmp_path, "A", 15, seed, scores={"unseen": score(2 + seed, 4)}, **pretrained) for seed in (0, 1)]
    runs += [seeded(tmp_path, "B", 5, seed, scores={"unseen": score(2 + seed, 4)}, unseen="1" * 4 + "0" * 16) for seed in (0, 1)]
    found = compare(runs, "unseen")
    assert [arms.mean for arms in found.arms] == [0]
    assert "is of pictures that no pretraining of the two compared saw" in " ".join(found.table.warnings)
    assert "no pretraining" not in " ".join(compare(runs).table.warnings)
    assert [arms.mean for arms in compare(runs).arms] == pytest.approx([0.5])


def test_arms_scored_on_different_never_seen_pictures_are_not_compared_and_those_without_are_named(tmp_path: Path) -> None:
    mask = {"unseen": "1" * 4 + "0" * 16}
    runs = [seeded(tmp_path, "A", 15, seed, scores={"unseen": score(2 + seed, 4)}, **mask) for seed in (0, 1)]
    runs += [seeded(tmp_path, "B", 5, seed, scores={"unseen": score(2, 3)}, **mask) for seed in (0, 1)]
    runs += [seeded(tmp_path, "C", 5, seed, **mask) for seed in (0, 1)]
    arms = arms_of(runs)
    assert compare_arms(arms, "unseen") == ()
    assert list(uncompared(arms, "unseen")) == [
        "C may have learnt from pictures that no pretraining saw, so on those it is compared run by run only."
    ]
    assert list(uncompared(arms)) == []


def test_arms_that_differ_in_their_optimizer_only_have_names_of_their_own(tmp_path: Path) -> None:
    records = [record("A", 80, seed, options={"optimizer": optimizer}) for optimizer in ("sgdm", "adam") for seed in (0, 1)]
    runs = [Run(tmp_path, one.model_copy(update={"run_id": str(n)})) for n, one in enumerate(records)]
    names = [arm.name for arm in arms_of(runs)]
    assert len(set(names)) == 2
    assert sorted(name.rsplit(", ", 1)[1] for name in names) == ["ADAM)", "SGDM)"]
