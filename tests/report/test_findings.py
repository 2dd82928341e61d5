"""What the page concludes of recipes over their seeds, in its two languages."""

import pytest

from tench.comparison.seeds import ArmsComparison, compare_seeds, corrected
from tench.report.findings import finding
from tench.report.words import Words

HALF = dict.fromkeys(range(3), 0.5)
CLEAR = compare_seeds({0: 0.53, 1: 0.54, 2: 0.55}, HALF, "A", "B")
OPEN = compare_seeds({0: 0.53, 1: 0.47, 2: 0.501}, HALF, "A", "C")


def test_one_comparison_is_not_corrected() -> None:
    assert finding(CLEAR, Words("en")).endswith("at least 0.25 with so few seeds).")


@pytest.mark.parametrize(
    ("together", "english", "polish"),
    [
        (
            (CLEAR, OPEN),
            "It is beyond chance among the 2 comparisons made together too: the t test's p is 0.02, corrected by Holm 0.04.",
            "nie jest to przypadek: p testu t wynosi 0,02, z poprawką Holma 0,04.",
        ),
        (
            (CLEAR, OPEN, OPEN),
            "Among the 3 comparisons made together it may be chance: the t test's p is 0.02, corrected by Holm 0.061.",
            "może to być przypadek: p testu t wynosi 0,02, z poprawką Holma 0,061.",
        ),
    ],
)
def test_comparisons_made_together_are_counted(together: tuple[ArmsComparison, ...], english: str, polish: str) -> None:
    clear, *others = corrected(together)
    assert finding(clear, Words("en")).endswith(english)
    assert finding(clear, Words("pl")).endswith(polish)
    assert all("comparisons made together" not in finding(other, Words("en")) for other in others), "what is open stays open"
