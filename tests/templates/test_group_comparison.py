"""group_comparison: figures against scipy and statsmodels, published data, the null twin, files in the wrong shape."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import confint_proportions_2indep

FOLDER = Path(__file__).resolve().parents[2] / "research_templates" / "group_comparison"
SETTINGS: dict[str, Any] = {"group": "group", "outcome": "outcome", "reference": "", "margin": 0.2, "seed": 0}


@pytest.fixture(scope="module")
def nb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("group_comparison_notebook", FOLDER / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fair() -> pd.DataFrame:
    """Fair (1978), A theory of extramarital affairs, J. Political Economy 86, 45-61: 6366 women asked in 1974."""
    data = sm.datasets.fair.load_pandas().data
    return pd.DataFrame({"affair": np.where(data["affairs"] > 0, "yes", "no"), "rating": data["rate_marriage"]})


def test_figures_agree_with_scipy_and_statsmodels(nb: ModuleType, fair: pd.DataFrame) -> None:
    found = nb.analyse(fair, {**SETTINGS, "group": "affair", "outcome": "rating"})
    x, y = (fair.loc[fair["affair"] == level, "rating"].to_numpy() for level in ("no", "yes"))
    t = scipy.stats.ttest_ind(y, x, equal_var=False)
    assert found["welch_t"] == pytest.approx(t.statistic, rel=1e-12)
    assert found["welch_df"] == pytest.approx(t.df, rel=1e-12)
    assert found["welch_p"] == pytest.approx(t.pvalue, rel=1e-8)
    assert found["estimate"] == pytest.approx(y.mean() - x.mean(), rel=1e-12)
    # 6366 rows: the studentised bootstrap and Welch's interval must be close, and both exclude zero.
    ci = t.confidence_interval(0.95)
    assert found["ci_low"] == pytest.approx(ci.low, abs=0.003)
    assert found["ci_high"] == pytest.approx(ci.high, abs=0.003)
    u = scipy.stats.mannwhitneyu(y, x, method="asymptotic")
    assert found["mann_whitney_u"] == u.statistic
    assert found["mann_whitney_p"] == pytest.approx(u.pvalue, rel=1e-6)
    trimmed = scipy.stats.ttest_ind(y, x, equal_var=False, trim=0.2)
    assert found["trimmed_p"] == pytest.approx(trimmed.pvalue, rel=1e-6)
    pooled = np.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2))
    assert found["hedges_g"] == pytest.approx(
        (y.mean() - x.mean()) / pooled * (1 - 3 / (4 * (len(x) + len(y)) - 9)), rel=1e-7
    )
    power = TTestIndPower()
    assert found["power_at_margin"] == pytest.approx(power.power(0.2, len(x), 0.05, len(y) / len(x)), abs=1e-6)
    assert found["detectable_g"] == pytest.approx(power.solve_power(None, len(x), 0.05, 0.8, len(y) / len(x)), rel=1e-6)
    # Published: women who report an affair rate their marriage lower.
    assert found["supported"]
    assert found["ci_high"] < 0


def test_published_effect_in_a_small_sample(nb: ModuleType) -> None:
    """Spector and Mazzeo (1980), J. Economic Education 11, 37-44: the method PSI raised grades; 32 students."""
    data = sm.datasets.spector.load_pandas().data
    found = nb.analyse(data, {**SETTINGS, "group": "PSI", "outcome": "GRADE"})
    table = pd.crosstab(data["PSI"], data["GRADE"]).to_numpy()
    assert (found["reference"], found["compared"]) == ("0", "1")
    assert found["estimate"] == pytest.approx(8 / 14 - 3 / 18)
    low, high = confint_proportions_2indep(table[1, 1], table[1].sum(), table[0, 1], table[0].sum(), method="newcomb")
    assert found["interval_method"] == "Newcombe"
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high), abs=1e-9)
    exact = scipy.stats.fisher_exact(table).pvalue
    assert found["p_value"] == pytest.approx(exact, abs=0.006)  # 9999 random exchanges, standard error 0.0016
    assert found["supported"]


def test_exact_permutation_agrees_with_scipy(nb: ModuleType) -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(0, 1, 7), rng.normal(1.2, 1, 6)
    found = nb.permutation(x, y, 0)
    assert found["exact"]

    def welch_t(a: Any, b: Any, axis: int) -> Any:
        return scipy.stats.ttest_ind(b, a, equal_var=False, axis=axis).statistic

    expected = scipy.stats.permutation_test(
        (x, y), lambda a, b, axis: abs(welch_t(a, b, axis)), n_resamples=10**6, alternative="greater", vectorized=True
    )
    assert found["p"] == pytest.approx(expected.pvalue, abs=1e-12)
    assert found["count"] == 1716


def test_intervals_agree_with_scipy_bootstrap(nb: ModuleType) -> None:
    data = nb.make_data(11, 6.0)
    groups = nb.two_groups(data, "group", "outcome")
    x, y = groups["x"], groups["y"]
    found = nb.analyse(data, SETTINGS)

    def g(a: Any, b: Any, axis: int = -1) -> Any:
        return nb.hedges(
            a.mean(axis), a.var(axis, ddof=1), a.shape[axis], b.mean(axis), b.var(axis, ddof=1), b.shape[axis]
        )

    ci = scipy.stats.bootstrap(
        (x, y), g, n_resamples=9999, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found["g_ci_low"] == pytest.approx(ci.low, abs=0.02)
    assert found["g_ci_high"] == pytest.approx(ci.high, abs=0.02)


@pytest.mark.parametrize(("t", "df"), [(0.1, 3), (2.0, 5.5), (1e-5, 10), (30.0, 8), (3.0, 1e5), (2.2, 1.0)])
def test_students_t(nb: ModuleType, t: float, df: float) -> None:
    assert nb.t_tail(t, df) == pytest.approx(2 * scipy.stats.t.sf(t, df), rel=1e-9)
    assert nb.t_quantile(0.05, df) == pytest.approx(scipy.stats.t.ppf(0.975, df), rel=1e-9)


def test_fishers_exact_test(nb: ModuleType) -> None:
    for table in ([[79, 1], [65, 9]], [[10, 0], [10, 0]], [[3, 5], [9, 1]]):
        rows, missing = [sum(row) for row in table], [row[1] for row in table]
        assert nb.missing_p(rows, missing) == pytest.approx(scipy.stats.fisher_exact(table).pvalue, abs=1e-9)


def test_known_effect_and_null_twin(nb: ModuleType) -> None:
    found = nb.analyse(nb.make_data(0, 6.0), SETTINGS)
    assert found["supported"]
    assert found["ci_low"] < 6.0 < found["ci_high"]
    null = nb.analyse(nb.make_data(0, 0.0), SETTINGS)
    assert not null["supported"]
    assert json.dumps(found, allow_nan=False)
    runs = [nb.science(seed, null=True) for seed in range(12)]
    assert sum(run["supported"] for run in runs) <= 2
    assert set(runs[0]) == {"supported", "estimate", "ci_low", "ci_high", "truth"}


def test_the_sign_follows_the_reference(nb: ModuleType) -> None:
    data = nb.make_data(0, 6.0)
    one, other = nb.analyse(data, SETTINGS), nb.analyse(data, {**SETTINGS, "reference": "treated"})
    assert one["estimate"] == -other["estimate"]
    assert other["reference"] == "treated"


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding"),
    [(",", ".", "utf-8"), (";", ",", "latin-1"), ("\t", ".", "utf-16"), ("|", ",", "utf-8-sig")],
)
def test_text_files_of_all_kinds_give_the_same_figures(
    nb: ModuleType, tmp_path: Path, separator: str, decimal: str, encoding: str
) -> None:
    data = nb.make_data(3, 6.0).rename(columns={"group": "größe", "outcome": "wert"})
    data.to_csv(tmp_path / "d.csv", sep=separator, decimal=decimal, encoding=encoding, index=False)
    table, how = nb.read_table(str(tmp_path / "d.csv"))
    assert how["separator"] == separator
    settings = {**SETTINGS, "group": "größe", "outcome": "wert"}
    assert nb.analyse(table, settings) == nb.analyse(data, settings)


@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_parquet_and_excel_are_read_whatever_their_name(nb: ModuleType, tmp_path: Path, suffix: str) -> None:
    data = nb.make_data(3, 6.0)
    file = tmp_path / "wrong_name.csv"
    data.to_parquet(file) if suffix == "parquet" else data.to_excel(tmp_path / "x.xlsx", index=False)
    if suffix == "xlsx":
        (tmp_path / "x.xlsx").rename(file)
    assert nb.analyse(nb.read_table(str(file))[0], SETTINGS)["estimate"] == nb.analyse(data, SETTINGS)["estimate"]


GOOD = "group,outcome\n" + "".join(f"{'ab'[i % 2]},{i}\n" for i in range(12))
BAD: dict[str, tuple[bytes, str]] = {
    "missing column": (
        GOOD.replace("outcome", "score").encode(),
        "The column `outcome` is missing; found: group, score.",
    ),
    "both missing": (b"a,b\n1,2\n3,4\n", "The columns `group` and `outcome` are missing; found: a, b."),
    "one group": (GOOD.replace("b,", "a,").encode(), "must have exactly 2 levels, but has 1: a."),
    "three groups": ((GOOD + "c,1\n").encode(), "must have exactly 2 levels, but has 3: a, b, c."),
    "two rows": (
        b"group,outcome\na,1\nb,2\n",
        "The group `a` has 1 numeric values of `outcome`; at least 3 are needed",
    ),
    "words": (
        GOOD.replace(",1", ",x1y")
        .replace(",2", ",word")
        .replace(",3", ",w")
        .replace(",5", ",w")
        .replace(",7", ",w")
        .replace(",9", ",w")
        .replace(",4", ",w")
        .encode(),
        "is not numeric; it holds values such as",
    ),
    "constant": (b"group,outcome\n" + b"a,1\nb,1\n" * 5, "does not vary within either group"),
    "empty": (b"", "The file d.csv is empty."),
    "spaces": (b" \n\n ", "The file d.csv is empty."),
    "header only": (b"group,outcome\n", "has 1 line(s); a header line and at least one row are needed."),
    "binary": (bytes(range(256)) * 50, "is not a table: it holds binary data."),
    "picture": (b"\x89PNG\r\n\x1a\n" + b"\x00\x01" * 500, "is not a table: it holds binary data."),
    "gzip": (b"\x1f\x8b\x08\x00" + b"x" * 50, "is compressed; unpack it first."),
    "old excel": (b"\xd0\xcf\x11\xe0" + b"x" * 50, "is an old Excel file"),
    "broken parquet": (b"PAR1" + b"x" * 50, "looks like Parquet but cannot be read"),
    "broken excel": (b"PK\x03\x04" + b"x" * 50, "looks like Excel but cannot be read"),
    "prose": (("It was a dark and stormy night; " * 30 + "\n").encode() * 3 + b"x\n" * 9, "is missing; found:"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_files_get_one_sentence(nb: ModuleType, tmp_path: Path, case: str) -> None:
    content, words = BAD[case]
    (tmp_path / "d.csv").write_bytes(content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is asserted below
        nb.analyse(nb.read_table(str(tmp_path / "d.csv"))[0], SETTINGS)
    assert words in str(caught.value) or case == "prose"
    assert "\n" not in str(caught.value)


def test_absent_file_and_reference(nb: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"The file no\.csv does not exist"):
        nb.read_table(str(tmp_path / "no.csv"))
    with pytest.raises(ValueError, match="`c` is not a level of `group`; its levels are: control, treated"):
        nb.analyse(nb.make_data(0, 6.0), {**SETTINGS, "reference": "c"})


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3], [4, 5, 7]),
        ([0, 0, 0, 0], [1, 2, 3, 4]),
        ([0, 1] * 20, [1, 1, 0] * 20),
        ([1e-9, 2e-9, 4e-9], [1e9, 2e9, 3e9]),
        ([5] * 9 + [6], [5] * 9 + [4]),
    ],
)
def test_small_and_awkward_groups_give_finite_json(nb: ModuleType, x: list[float], y: list[float]) -> None:
    data = pd.DataFrame({"group": ["a"] * len(x) + ["b"] * len(y), "outcome": [*x, *y]})
    found = nb.analyse(data, SETTINGS)
    assert json.dumps(found, allow_nan=False)
    assert found["ci_low"] <= found["estimate"] <= found["ci_high"]


def test_text_from_outside_stays_inert(nb: ModuleType) -> None:
    text = nb.safe("<script>alert(1)</script> **b** [x](javascript:y) $z$ `c`\n# h \"q\" 'a'")
    assert not set("<>*[]$`#\n") & set(text.replace("&#", ""))


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    # Under PYTEST_CURRENT_TEST marimo would take itself for a part of this test run.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run([sys.executable, *argv], cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_notebook_runs_lints_and_its_own_tests_pass(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "notebook.py", tmp_path)
    lint = run(tmp_path, "-m", "marimo", "check", "--strict", "notebook.py")
    assert lint.returncode == 0, lint.stdout + lint.stderr
    tests = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "notebook.py")
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr


def test_executed_notebook_gives_the_verdict_for_a_file(nb: ModuleType, tmp_path: Path, fair: pd.DataFrame) -> None:
    """The whole notebook on a real file with hostile names; the verdict cell equals `analyse`."""
    names = {"affair": "<b>affair</b>", "rating": "rating: [*$x$*]"}
    sample = fair.rename(columns=names).sample(800, random_state=1)
    sample.to_csv(tmp_path / "synthetic_or_not.csv", index=False)
    shutil.copy(FOLDER / "notebook.py", tmp_path)
    done = run(
        tmp_path,
        "-m",
        "marimo",
        "export",
        "session",
        "notebook.py",
        "--force-overwrite",
        "--",
        "--data",
        "synthetic_or_not.csv",
        "--group",
        names["affair"],
        "--outcome",
        names["rating"],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    session = json.loads((tmp_path / "__marimo__" / "session" / "notebook.py.json").read_text())
    outputs = [output.get("data") or {} for cell in session["cells"] for output in cell["outputs"]]
    bundles = [json.loads(data["application/json"]) for data in outputs if "application/json" in data]
    verdict = next(bundle for bundle in bundles if isinstance(bundle, dict) and "claim" in bundle)
    expected = nb.analyse(sample, {**SETTINGS, "group": names["affair"], "outcome": names["rating"]})
    assert float(str(verdict["estimate"]).removeprefix("text/plain+float:")) == pytest.approx(expected["estimate"])
    assert verdict["supported"] is True
    assert "rating: [*$x$*]" in verdict["summary"]
    for data in outputs:
        for kind in ("text/markdown", "text/html"):
            assert "<b>affair</b>" not in data.get(kind, "")
            assert not re.search("synthetic data|data are synthetic", data.get(kind, "")), "a file is what it is"
    assert verdict["data"] == "file synthetic_or_not.csv"
    assert not any("synthetic" in limit for limit in verdict["limits"])


@pytest.mark.slow
def test_whole_notebook_runs_on_small_and_two_valued_groups(tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text("group,outcome\n" + "a,0\n" * 4 + "b,1\nb,2\nb,3\n")
    data = sm.datasets.spector.load_pandas().data
    data.rename(columns={"PSI": "group", "GRADE": "outcome"}).to_csv(tmp_path / "spector.csv", index=False)
    for name in ("small.csv", "spector.csv"):
        done = run(tmp_path, str(FOLDER / "notebook.py"), "--data", name)
        assert done.returncode == 0, done.stderr
