"""dataset_profile: figures against scipy and statsmodels, planted defects, wide and messy files, the null twin."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests

TEMPLATES = Path(__file__).resolve().parents[2] / "research_templates"
FOLDER = TEMPLATES / "dataset_profile"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_notebook", TEMPLATES / name / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nb() -> ModuleType:
    return load("dataset_profile")


def describe(nb: ModuleType, values: list[Any]) -> dict[str, Any]:
    return nb.describe_column("c", pd.Series(values))


def words(problems: list[dict[str, str]]) -> str:
    return " | ".join(f"{p['severity']}: {p['columns']}: {p['what']}" for p in problems)


def test_statistics_agree_with_scipy_and_statsmodels(nb: ModuleType) -> None:
    rng = np.random.default_rng(2)
    p = rng.random(200) ** 3
    assert nb.bh(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])
    x, df = rng.chisquare(5, 50), rng.integers(1, 40, 50)
    assert nb.chi2_tail(x, df) == pytest.approx(scipy.stats.chi2.sf(x, df), abs=1e-12)
    a = rng.normal(size=(80, 3)).round(1)
    a[rng.random(a.shape) < 0.2] = np.nan
    r, n = nb.correlate(a, a)
    expected = pd.DataFrame(a).corr(min_periods=3)
    assert r == pytest.approx(expected.to_numpy())
    assert n[0, 1] == np.isfinite(a[:, :2]).all(axis=1).sum()
    x, y = rng.normal(size=(2, 60)).round(1)
    found = nb.spearman(pd.Series(x).rank().to_numpy(), pd.Series(y).rank().to_numpy())
    reference = scipy.stats.spearmanr(x, y)
    assert found["estimate"] == pytest.approx(reference.statistic)
    assert found["p_value"] == pytest.approx(reference.pvalue)


def test_category_tests_agree_with_scipy(nb: ModuleType) -> None:
    rng = np.random.default_rng(4)
    n = 300
    table = pd.DataFrame(
        {"site": rng.choice(list("ABCD"), n), "arm": rng.choice(list("xyz"), n), "value": rng.normal(size=n).round(2)}
    )
    table.loc[rng.random(n) < 0.1, "value"] = np.nan
    table.loc[table["site"] == "A", "value"] += 1
    columns = [nb.describe_column(name, table[name]) for name in table]
    tests = {(t["a"], t["b"]): t for t in nb.category_tests(columns, nb.prepare(columns, table))}
    kept = table.drop_duplicates().dropna()
    h = scipy.stats.kruskal(*(group["value"] for _, group in kept.groupby("site")))
    # Ranks are taken over all rows; dropping the rows without a value does not change their order.
    assert tests["site", "value"]["stat"] == pytest.approx(h.statistic, rel=1e-9)
    assert tests["site", "value"]["p"] == pytest.approx(h.pvalue, rel=1e-6)
    different = table.drop_duplicates()
    chi = scipy.stats.chi2_contingency(pd.crosstab(different["site"], different["arm"]), correction=False)
    pair = tests.get(("site", "arm")) or tests["arm", "site"]
    assert pair["stat"] == pytest.approx(chi.statistic)
    assert pair["p"] == pytest.approx(chi.pvalue)


def test_real_table_finds_its_strongest_relation(nb: ModuleType) -> None:
    """Statewide crime, US Census 2009 (statsmodels): among its columns, single-parent households go with murders."""
    data = sm.datasets.statecrime.load_pandas().data
    found = nb.analyse(data, {"target": "murder", "seed": 0})
    assert found["supported"]
    rows = np.random.default_rng([0, 1]).permutation(len(data))
    other = found["strongest_pair"][0 if found["strongest_pair"][1] == "murder" else 1]
    half = data.iloc[rows[len(data) // 2 :]]
    reference = scipy.stats.spearmanr(half["murder"], half[other])
    assert found["estimate"] == pytest.approx(reference.statistic)
    assert found["p_value"] == pytest.approx(reference.pvalue)
    # Bonett and Wright's interval, computed here from its definition.
    half_width = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + reference.statistic**2 / 2) / (len(half) - 3))
    assert found["ci_low"] == pytest.approx(math.tanh(math.atanh(reference.statistic) - half_width), rel=1e-6)


def test_known_effect_and_null_twin(nb: ModuleType) -> None:
    truth = 6 / math.pi * math.asin(0.225)
    found = nb.analyse(nb.make_data(0, True), {"seed": 0})
    assert found["supported"]
    assert sorted(found["strongest_pair"]) == ["score_a", "score_b"]
    assert found["ci_low"] < truth < found["ci_high"]
    assert json.dumps(found, allow_nan=False)
    assert not nb.analyse(nb.make_data(0, False), {"seed": 0})["supported"]
    runs = [nb.science(seed, null=True) for seed in range(8)]
    assert not any(run["supported"] for run in runs)
    assert set(runs[0]) == {"supported", "estimate", "ci_low", "ci_high", "truth"}
    assert nb.science(1, null=False)["truth"] == pytest.approx(truth)


KINDS: list[tuple[list[Any], str]] = [
    ([1.5, 2.5, None, 4.0], "number"),
    (["1,5", "2,5", "", "NA"], "two-valued"),
    (["1.234,5 €", "2.000,5 €", "7,5 €"], "number"),
    (["12 kg", "13 kg", "15 kg"], "number"),
    (["2024-01-31", "2024-02-01", "n/a", "2024-03-01"], "date"),
    (["31/01/2024", "01/02/2024", "05/02/2024"], "date"),
    (list(pd.to_datetime(["2024-01-31", "2024-02-01", None])), "date"),
    (["yes", "no", "yes", "Yes "], "two-valued"),
    ([True, False, True], "two-valued"),
    (["a", "b", "c", "a"], "category"),
    ([f"P{i}" for i in range(60)], "identifier"),
    (list(range(100, 160)), "identifier"),
    ([f"a long remark number {i}" for i in range(60)], "text"),
    ([None, "", "NaN", "-"], "empty"),
    (["x", "x", "X"], "constant"),
    ([7, 7, 7], "constant"),
    (["12a", "4b", "77c", "9d", "11e", "x"] * 9, "category"),
    ([1, "two", 3.5, None] * 9, "number"),
]


@pytest.mark.parametrize(("values", "kind"), KINDS, ids=lambda v: str(v)[:24])
def test_kinds_are_inferred(nb: ModuleType, values: list[Any], kind: str) -> None:
    assert describe(nb, values)["kind"] == kind


def test_values_are_read_right(nb: ModuleType) -> None:
    assert describe(nb, ["1.234,5 €", "2.000,5 €", "7,5 €"])["values"].tolist() == [1234.5, 2000.5, 7.5]
    assert describe(nb, ["1.234", "3,5", "2,25"])["values"].tolist() == [1234.0, 3.5, 2.25]
    assert describe(nb, ["1,234", "12,500", "7"])["values"].tolist() == [1234.0, 12500.0, 7.0]
    days = describe(nb, ["31.01.2024", "01.02.2024", "02.02.2024"])["values"]
    assert (np.diff(days) / 86400).tolist() == [1.0, 1.0]
    month_first = describe(nb, ["01/31/2024", "02/01/2024", "02/02/2024"])["values"]
    assert month_first.tolist() == days.tolist()
    assert describe(nb, [-999, *range(18, 80), -999, -999])["code_value"] == -999
    assert describe(nb, [-1.5, *range(-40, 40)])["code_value"] is None


def test_each_problem_is_named(nb: ModuleType) -> None:
    n = 120
    rng = np.random.default_rng(0)
    good = rng.normal(size=n).round(4)
    table = pd.DataFrame(
        {
            "": good,
            "mixed units": [f"{v} kg" if i % 2 else f"{v} lb" for i, v in enumerate(rng.integers(50, 90, n))],
            "both orders": ["31/01/2024", "01/31/2024"] * (n // 2),
            "ambiguous": ["01/02/2024", "03/04/2024", "05/06/2024"] * (n // 3),
            "words and numbers": [str(v) if v < 40 else f"word{v % 30}" for v in rng.integers(0, 100, n)],
            "target": rng.integers(0, 2, n),
        }
    )
    table["answer"] = table["target"]
    table.columns = nb.unique_names(list(table.columns))
    found = words(nb.analyse(table, {"target": "target", "how": {"ragged": 3}})["problems"])
    for part in (
        "serious: (rows): 3 rows have too few or too many cells",
        "serious: target, answer: 2 columns are identical",
        "serious: mixed units: mixed units: kg, lb",
        "moderate: ambiguous: day and month cannot be told apart",
        "moderate: words and numbers: numbers and words are mixed",
        "moderate: column 1: 1 columns have no name",
        "both orders: ",
    ):
        assert part in found, found


@pytest.mark.slow
def test_wide_messy_table_in_seconds(nb: ModuleType, tmp_path: Path) -> None:
    """10,000 rows and 500 columns, latin-1, semicolons, decimal commas, 3 % gaps, one related pair."""
    rng, n = np.random.default_rng(0), 10_000
    days = pd.Series(pd.date_range("2020-01-01", periods=900).strftime("%d/%m/%Y"))
    columns: dict[str, Any] = {}
    for i in range(500):
        made = {
            5: lambda: rng.choice(list("ABCDEFG"), n),
            6: lambda: days.iloc[rng.integers(0, 900, n)].to_numpy(),
            7: lambda: np.char.add("größe ", rng.integers(0, 10**6, n).astype(str)),
        }.get(i % 8, lambda: np.char.replace(rng.normal(size=n).round(3).astype(str), ".", ","))()
        columns[f"spalte {i} é"] = np.where(rng.random(n) < 0.03, "", made)
    base = rng.normal(size=n)
    columns["a"], columns["b"] = (
        np.char.replace((base + 2 * rng.normal(size=n)).round(3).astype(str), ".", ",") for _ in "ab"
    )
    lines = [";".join(columns), *(";".join(row) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "breit.csv").write_text("\n".join(lines), encoding="latin-1")
    start = time.process_time()
    table, how = nb.read_table(str(tmp_path / "breit.csv"))
    found = nb.analyse(table, {"seed": 0, "how": how})
    used = time.process_time() - start
    assert table.shape == (n, 502)
    assert how["separator"] == ";"
    assert sorted(found["strongest_pair"]) == ["a", "b"]
    assert found["supported"]
    assert found["discoveries"] <= 5
    assert json.dumps(found, allow_nan=False)
    assert used < 45, f"{used:.1f} s of processor time"  # 6 to 15 s depending on what else runs


@pytest.mark.parametrize("rows", [1, 2, 5, 39])
def test_small_tables_say_that_they_are_small(nb: ModuleType, rows: int) -> None:
    table = pd.DataFrame({"a": np.arange(rows) ** 1.5, "b": np.arange(rows)[::-1] * 2.0, "c": ["x"] * rows})
    found = nb.analyse(table, {})
    assert found["estimate"] is None
    assert not found["supported"]
    assert found["why_not"].endswith(".")
    assert json.dumps(found, allow_nan=False)


def test_copies_and_repeated_rows_are_no_findings(nb: ModuleType) -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"a": rng.normal(size=100), "c": rng.normal(size=100)})
    table["twice_a"] = 2 * table["a"]
    table = pd.concat([table] * 4, ignore_index=True)  # every row four times: only 100 different ones
    found = nb.analyse(table, {"seed": 3})
    assert found["duplicate_rows"] == 300
    assert found["pairs_tested"] == 1
    assert found["n_obs"] == 50
    assert not found["supported"]


def test_gaps_that_depend_on_another_column_are_found(nb: ModuleType) -> None:
    rng = np.random.default_rng(5)
    age = rng.integers(20, 80, 500)
    income = pd.Series(rng.normal(size=500)).where(rng.random(500) > (age - 20) / 90)
    gaps = nb.analyse(pd.DataFrame({"age": age, "income": income, "other": rng.normal(size=500)}), {})["missing_links"]
    assert [(link["column"], link["other"]) for link in gaps] == [("income", "age")]
    reference = scipy.stats.spearmanr(income.isna(), age)
    assert gaps[0]["r"] == pytest.approx(reference.statistic, abs=1e-9)


def test_shared_functions_are_the_same_in_both_templates(nb: ModuleType) -> None:
    from jupyterlab_postdoc.templates.source import read_cells

    one, other = (
        {c.name: c.code for c in read_cells(TEMPLATES / name / "notebook.py")}
        for name in ("dataset_profile", "group_comparison")
    )
    shared = ["safe", "number", "percent", "p_text", "read_table", "read_text_table", "unique_names"]
    shared += ["texts_to_numbers", "as_numbers", "t_tail"]
    assert [name for name in shared if one[name] != other[name]] == []


def test_missing_target_is_named(nb: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b\n1,2\n3,4\n")
    done = run(tmp_path, str(FOLDER / "notebook.py"), "--data", "d.csv", "--target", "c")
    assert done.returncode != 0
    assert "The target column `c` is missing; found: a, b." in done.stderr


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    # Under PYTEST_CURRENT_TEST marimo would take itself for a part of this test run.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run([sys.executable, *argv], cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_notebook_lints_and_its_own_tests_pass(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "notebook.py", tmp_path)
    lint = run(tmp_path, "-m", "marimo", "check", "--strict", "notebook.py")
    assert lint.returncode == 0, lint.stdout + lint.stderr
    tests = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "notebook.py")
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr


def test_whole_notebook_runs_on_ragged_hostile_and_tiny_tables(tmp_path: Path) -> None:
    rows = "\n".join(f"{i};{i % 7},5;<i>x{i % 3}</i>" for i in range(60))
    (tmp_path / "ragged.csv").write_text(f"id;<b>price</b>;kind\n{rows}\n1;2\n1;2;3;4\n")
    (tmp_path / "tiny.csv").write_text("a,b\n1,x\n")
    for name in ("ragged.csv", "tiny.csv"):
        done = run(tmp_path, str(FOLDER / "notebook.py"), "--data", name)
        assert done.returncode == 0, done.stderr
