"""A small study as a model writes it from nothing: the conversation, cell by cell, with one bug on the way.

It is the product's example, so it is a good one: question and rule before the result, tests with known answers, the
null twin, robustness, limits, and no number in a sentence that was not computed there.
"""

from __future__ import annotations

from typing import Any

TOPIC = "Does caffeine shorten reaction times? A permutation test on synthetic data"

SETUP = """\
import marimo as mo
import matplotlib.pyplot as plt
import numpy as np"""

QUESTION = '''\
mo.md("""
# Does caffeine shorten reaction times? (synthetic data)

**Question.** Is the mean reaction time lower after caffeine than after placebo, in two independent groups?

**Mechanism.** Caffeine blocks adenosine receptors, which keeps attention up; if that matters here, the whole
distribution moves to the left.

**Rule, fixed before any result.** The estimate is the difference of the means, caffeine minus placebo, in
milliseconds. The claim "caffeine shortens the reaction time" is *supported* when the 95 % interval lies below zero
and the permutation test gives p ≤ 0.05; it is *refuted* when the interval lies above zero; otherwise it is undecided.
Everything below the main estimate is a check of it and can only weaken it.

The data are simulated with a known effect. They show whether this analysis finds what is there; they say nothing
about people.
""")'''

PARAMETERS = """\
parameters = {
    "n_per_group": 60,
    "effect_ms": -25.0,
    "spread_ms": 45.0,
    "draws": 4000,
    "seed": 1,
}"""

SIMULATE = '''\
def simulate(n: int, effect_ms: float, spread_ms: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Reaction times in ms, (placebo, caffeine), each of shape (n,): a normal part and a slow exponential tail."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(300.0, spread_ms, (2, n))
    tail = rng.exponential(40.0, (2, n))
    placebo, caffeine = normal + tail
    return placebo, caffeine + effect_ms'''

MEAN_DIFFERENCE = '''\
def mean_difference(placebo: np.ndarray, caffeine: np.ndarray) -> float:
    """Caffeine minus placebo, in the unit of the data."""
    return float(caffeine.mean() - placebo.mean())'''

PERMUTATION_BROKEN = '''\
def permutation_test(placebo: np.ndarray, caffeine: np.ndarray, draws: int, seed: int) -> tuple[float, np.ndarray]:
    """Two-sided p value of the difference of the means under exchange of labels, and the differences by chance."""
    rng = np.random.default_rng(seed)
    pooled = np.concatenate([placebo, caffeine])
    shuffled = rng.permuted(pooled, axis=1)
    by_chance = shuffled[:, len(placebo) :].mean(axis=1) - shuffled[:, : len(placebo)].mean(axis=1)
    extreme = np.abs(by_chance) >= abs(mean_difference(placebo, caffeine)) - 1e-12
    return float((extreme.sum() + 1) / (draws + 1)), by_chance'''

PERMUTATION = PERMUTATION_BROKEN.replace(
    "shuffled = rng.permuted(pooled, axis=1)", "shuffled = rng.permuted(np.tile(pooled, (draws, 1)), axis=1)"
)

INTERVAL = '''\
def bootstrap_interval(placebo: np.ndarray, caffeine: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the difference of the means; both groups are resampled."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(group, (draws, len(group))).mean(axis=1) for group in (placebo, caffeine)]
    low, high = np.quantile(means[1] - means[0], [0.025, 0.975])
    return float(low), float(high)'''

TEST_KNOWN = """\
# All 20 splits of 1..3 against 7..9: two of them are as extreme as the one observed, so p is about 0.1.
_p, _by_chance = permutation_test(np.array([1.0, 2.0, 3.0]), np.array([7.0, 8.0, 9.0]), 4000, seed=1)
assert abs(_p - 0.1) < 0.02
assert abs(_by_chance.mean()) < 0.2
assert mean_difference(np.array([1.0, 3.0]), np.array([4.0, 6.0])) == 3.0"""

TEST_PLANTED = """\
_placebo, _caffeine = simulate(400, -25.0, 45.0, seed=3)
_low, _high = bootstrap_interval(_placebo, _caffeine, 2000, seed=4)
assert _low < -25.0 < _high < 0
# Of 100 studies without any effect about five have p ≤ 0.05.
_false = sum(permutation_test(*simulate(30, 0.0, 45.0, seed=_s), 300, seed=_s)[0] <= 0.05 for _s in range(100))
assert 0 <= _false <= 11"""

DATA = """\
placebo, caffeine = simulate(
    parameters["n_per_group"], parameters["effect_ms"], parameters["spread_ms"], parameters["seed"]
)
mo.md(
    f"**Data: synthetic.** {len(placebo)} people after placebo (mean {placebo.mean():.0f} ms, standard deviation "
    f"{placebo.std(ddof=1):.0f} ms) and {len(caffeine)} after caffeine (mean {caffeine.mean():.0f} ms, standard "
    f"deviation {caffeine.std(ddof=1):.0f} ms). Nothing is missing and nobody was excluded. Seed {parameters['seed']}."
)"""

ESTIMATE = """\
estimate = mean_difference(placebo, caffeine)
ci_low, ci_high = bootstrap_interval(placebo, caffeine, parameters["draws"], parameters["seed"] + 1)
p_value, by_chance = permutation_test(placebo, caffeine, parameters["draws"], parameters["seed"] + 2)
supported = True if ci_high < 0 and p_value <= 0.05 else False if ci_low > 0 else None"""

FIGURE = """\
_figure, (_left, _right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
_bins = np.histogram_bin_edges(np.concatenate([placebo, caffeine]), 24)
_left.hist(placebo, _bins, color="#0072B2", alpha=0.6, label="placebo")
_left.hist(caffeine, _bins, color="#D55E00", alpha=0.6, label="caffeine")
_left.set(title="Reaction times (synthetic data)", xlabel="reaction time (ms)", ylabel="people")
_left.legend()
_right.hist(by_chance, 40, color="#b8c9d9", label="labels exchanged")
_right.axvline(estimate, color="#D55E00", label="observed")
_right.set(title="Difference by chance (synthetic data)", xlabel="difference of means (ms)", ylabel="draws")
_right.margins(y=0.25)
_right.legend(ncols=2)
_figure"""

RESULT = '''\
mo.md(f"""
## Result

After caffeine the mean reaction time was **{abs(estimate):.1f} ms {"lower" if estimate < 0 else "higher"}**
(95 % interval {ci_low:.1f} to {ci_high:.1f} ms, permutation p = {p_value:.2g}, n = {len(placebo) + len(caffeine)}).
By the rule above the claim is **{ {True: "supported", False: "refuted", None: "undecided"}[supported]}**.
The planted effect of {parameters["effect_ms"]:.0f} ms lies
{"inside" if ci_low <= parameters["effect_ms"] <= ci_high else "outside"} the interval.
""")'''

ROBUSTNESS = """\
def trimmed(values: np.ndarray, share: float = 0.2) -> float:
    \"\"\"Mean without the lowest and the highest ``share`` of the values.\"\"\"
    cut = int(share * len(values))
    return float(np.sort(values)[cut : len(values) - cut].mean())"""

ROBUSTNESS_SHOWN = """\
checks = {
    "difference of medians": float(np.median(caffeine) - np.median(placebo)),
    "difference of 20 % trimmed means": trimmed(caffeine) - trimmed(placebo),
    "without the slowest person of each group": mean_difference(np.sort(placebo)[:-1], np.sort(caffeine)[:-1]),
}
_same = sum(_value * estimate > 0 for _value in checks.values())
mo.vstack(
    [
        mo.md("## Robustness"),
        mo.ui.table([{"check": _name, "ms": round(_value, 1)} for _name, _value in checks.items()], selection=None),
        mo.md(f"{_same} of {len(checks)} checks point the same way as the main estimate."),
    ]
)"""

NULL_TWIN = """\
_studies = 200
_p_values = [
    permutation_test(*simulate(parameters["n_per_group"], 0.0, parameters["spread_ms"], 1000 + _s), 400, _s)[0]
    for _s in range(_studies)
]
false_alarms = float(np.mean(np.array(_p_values) <= 0.05))
_reach = 1.96 * (0.05 * 0.95 / _studies) ** 0.5
mo.md(
    f"**Null twin.** Of {_studies} such studies without any planted effect, {100 * false_alarms:.1f} % have p ≤ 0.05. "
    f"Of a test that holds its 5 %, {100 * (0.05 - _reach):.1f} % to {100 * (0.05 + _reach):.1f} % are expected: "
    f"{'it does' if abs(false_alarms - 0.05) <= _reach else 'it does not'}."
)"""

LIMITATIONS = '''\
mo.md("""
## Limitations

- The data are simulated: the effect was planted, so the result says that the method finds it, not that caffeine works.
- People are independent here. Repeated measurements of one person would make the interval too narrow.
- Dose, habit and time of day are left out. Not checked: other distributions than this one.
""")'''

VERDICT = """\
verdict = {
    "claim": "The mean reaction time is lower after caffeine than after placebo.",
    "supported": supported,
    "estimate": estimate,
    "ci_low": ci_low,
    "ci_high": ci_high,
    "p_value": p_value,
    "n_obs": len(placebo) + len(caffeine),
    "unit": "ms",
    "summary": f"After caffeine the mean reaction time differed by {estimate:.1f} ms (95 % interval {ci_low:.1f} to "
    f"{ci_high:.1f}, permutation p = {p_value:.2g}, n = {len(placebo) + len(caffeine)}). "
    "The data are simulated with a planted effect and say nothing about people.",
    "limits": [
        "Simulated data: the effect was planted.",
        "Independent people are assumed; repeated measurements were not checked.",
    ],
    "data": "synthetic",
    "seed": parameters["seed"],
}
verdict"""

CELLS = {
    "setup": SETUP,
    "question": QUESTION,
    "parameters": PARAMETERS,
    "simulate": SIMULATE,
    "mean_difference": MEAN_DIFFERENCE,
    "permutation_test": PERMUTATION,
    "bootstrap_interval": INTERVAL,
    "test_known_answers": TEST_KNOWN,
    "test_planted_effect_and_null": TEST_PLANTED,
    "data": DATA,
    "estimate": ESTIMATE,
    "figure": FIGURE,
    "result": RESULT,
    "trimmed": ROBUSTNESS,
    "robustness": ROBUSTNESS_SHOWN,
    "robustness_null_twin": NULL_TWIN,
    "limitations": LIMITATIONS,
    "verdict": VERDICT,
}
PROSE = {"question", "figure", "result", "robustness", "robustness_null_twin", "limitations"}
STEPS = (
    "State the question and the rule before any result",
    "Write the functions and their tests",
    "Estimate, with interval and permutation test",
    "Check robustness and state the limits",
    "Run the notebook and repair what fails",
)

Call = tuple[str, dict[str, Any]]


def puts(*names: str, **changed: str) -> Call:
    """One nb_edit of these cells; ``changed`` gives another body to one of them."""
    changes = [
        {"op": "put", "name": name, "code": changed.get(name, CELLS[name]), "hide_code": name in PROSE}
        for name in names
    ]
    return "nb_edit", {"changes": changes}


def plan(active: int) -> Call:
    """The plan with its step ``active`` at work; past the last one: all done."""
    states = ["done" if number < active else "active" if number == active else "pending" for number in range(5)]
    return "plan", {"items": [{"text": text, "state": state} for text, state in zip(STEPS, states, strict=True)]}


TURNS: list[tuple[str, list[Call]]] = [
    (
        "I begin with the question and the rule by which it will be decided, before there is any result.",
        [plan(0), ("nb_create", {"title": TOPIC}), puts("setup", "question", "parameters")],
    ),
    (
        "Now the functions, each with a known answer to hold it against.",
        [
            plan(1),
            puts(
                "simulate",
                "mean_difference",
                "permutation_test",
                "bootstrap_interval",
                "test_known_answers",
                "test_planted_effect_and_null",
                permutation_test=PERMUTATION_BROKEN,
            ),
        ],
    ),
    (
        "Data, the main estimate, one figure and the sentence that goes with it.",
        [plan(2), puts("data", "estimate", "figure", "result")],
    ),
    (
        "What could break the result, the same study without an effect, the limits, and the verdict.",
        [plan(3), puts("trimmed", "robustness", "robustness_null_twin", "limitations", "verdict"), ("nb_check", {})],
    ),
    ("The check is clean. I run the whole notebook.", [plan(4), ("nb_run", {})]),
    (
        "The permutation shuffles an axis that a flat array does not have: the pooled values have to be repeated, one "
        "row for each draw. I repair that function and run again.",
        [
            puts("permutation_test"),
            ("git_commit", {"message": "Repair the permutation: one shuffled row for each draw"}),
            ("nb_run", {}),
        ],
    ),
    (
        "Everything ran. Both panels have their axes and labels and show what the text says, and without an effect the "
        "test raises no more false alarms than it may.",
        [
            plan(5),
            (
                "finish",
                {
                    "summary": "The permutation test finds the planted shortening of the reaction time, with its "
                    "interval below zero. The data are simulated, so this speaks for the method only."
                },
            ),
        ],
    ),
]
