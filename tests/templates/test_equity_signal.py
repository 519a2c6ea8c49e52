"""equity_signal: figures against statsmodels, scipy and pandas on real returns; known effect, null twin, bad files."""

from __future__ import annotations

import importlib.util
import json
import os
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
from linearmodels.datasets import french

FOLDER = Path(__file__).resolve().parents[2] / "research_templates" / "equity_signal"
INDUSTRIES = [
    *("NoDur", "Durbl", "Manuf", "Enrgy", "Chems", "BusEq"),
    *("Telcm", "Utils", "Shops", "Hlth", "Money", "Other"),
]
SORTED = [f"S{s}{kind}{v}" for kind in "VM" for s in (1, 3, 5) for v in (1, 3, 5)]
DEFAULTS = {"data": "", "signal": "auto", "lookback": 0, "holding": 0, "quantiles": 5, "cost_bps": 10.0, "seed": 0}


@pytest.fixture(scope="module")
def nb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("equity_signal_notebook", FOLDER / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def monthly() -> pd.DataFrame:
    return french.load().set_index("dates")


def independent(wide: pd.DataFrame, signal: str, lookback: int, skip: int, quantiles: int) -> pd.DataFrame:
    """Long-short return, rank correlation and value traded of each period, with pandas only; no missing values."""
    past = np.log1p(wide).rolling(lookback - skip).sum().shift(skip)
    score = {"reversal": -past, "momentum": past, "low_volatility": -wide.rolling(lookback).std()}[signal].round(12)
    later = wide.shift(-1)[score.notna().all(axis=1)].iloc[:-1]
    score = score.loc[later.index]
    bucket = np.floor((score.rank(axis=1, method="first") - 0.5) * quantiles / wide.shape[1])
    top, bottom = bucket == quantiles - 1, bucket == 0
    weights = top.div(top.sum(axis=1), axis=0) - bottom.div(bottom.sum(axis=1), axis=0)
    held = (weights * (1 + later)).shift(1).fillna(0.0)
    own = pd.DataFrame(
        {
            "return": later.where(top).mean(axis=1) - later.where(bottom).mean(axis=1),
            "ic": score.rank(axis=1).corrwith(later.rank(axis=1), axis=1),
            "traded": (weights - held).abs().sum(axis=1),
        }
    )
    assert own["ic"].iloc[5] == pytest.approx(scipy.stats.spearmanr(score.iloc[5], later.iloc[5]).statistic)
    return own


CASES = [
    ("Industry momentum", INDUSTRIES, {"quantiles": 3}, ("momentum", 12, 1)),
    ("Short Term Reversal", INDUSTRIES + SORTED, {}, ("reversal", 1, 0)),
    ("Low Volatility", SORTED, {"lookback": 24, "quantiles": 4, "cost_bps": 25.0}, ("low_volatility", 24, 0)),
]


@pytest.mark.parametrize(
    ("topic", "columns", "given", "expected"), CASES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_figures_on_real_returns_match_statsmodels_and_scipy(
    nb: ModuleType,
    monthly: pd.DataFrame,
    tmp_path: Path,
    topic: str,
    columns: list[str],
    given: dict[str, Any],
    expected: tuple[str, int, int],
) -> None:
    wide = monthly[columns]
    percent = (wide * 100).set_axis(wide.index.strftime("%Y%m"), axis=0)
    percent.to_csv(tmp_path / "returns.csv", index_label="month")
    signal, lookback, skip = expected
    parameters = {**DEFAULTS, **given}
    assert nb.choose_signal("auto", topic)[0] == signal
    panel = nb.load_panel("returns.csv", str(tmp_path), signal, 0, topic)
    assert (panel["frequency"], panel["per_year"]) == ("monthly", 12)
    assert any("percent and were divided by 100" in note for note in panel["notes"])
    plan = nb.resolve(panel, parameters, signal, topic)
    assert (plan["lookback"], plan["skip"], plan["holding"]) == (lookback, skip, 1)
    found = nb.analyse(panel, plan)

    own = independent(wide, signal, lookback, skip, parameters["quantiles"])
    lag = int(4 * (len(own) / 100) ** (2 / 9))
    options = {"maxlags": lag, "use_correction": True}
    fit = sm.OLS(own["return"], np.ones(len(own))).fit(cov_type="HAC", cov_kwds=options)
    mean, error = float(fit.params.iloc[0]) * 1200, float(fit.bse.iloc[0]) * 1200
    freedom = 1.5 * len(own) / (lag + 1)
    half = scipy.stats.t.ppf(0.975, freedom) * error
    assert found["n_obs"] == len(own)
    assert found["newey_west_lag"] == lag
    assert found["estimate"] == pytest.approx(mean, rel=1e-8)
    assert found["t_stat"] == pytest.approx(float(fit.tvalues.iloc[0]), rel=1e-8)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((mean - half, mean + half), rel=1e-5)
    assert found["p_value"] == pytest.approx(2 * scipy.stats.t.sf(abs(mean / error), freedom), rel=1e-4, abs=1e-9)
    net = own["return"] - parameters["cost_bps"] / 1e4 * own["traded"]
    assert found["net_estimate"] == pytest.approx(1200 * net.mean(), rel=1e-8)
    assert found["turnover"] == pytest.approx(own["traded"].mean() / 4, rel=1e-8)
    assert found["break_even_bps"] == pytest.approx(1e4 * own["return"].mean() / own["traded"].mean(), rel=1e-8)
    assert found["sharpe_gross"] == pytest.approx(own["return"].mean() / own["return"].std() * np.sqrt(12), rel=1e-8)
    ic = sm.OLS(own["ic"], np.ones(len(own))).fit(cov_type="HAC", cov_kwds=options)
    assert found["ic_mean"] == pytest.approx(float(ic.params.iloc[0]), rel=1e-6)
    assert found["ic_t"] == pytest.approx(float(ic.tvalues.iloc[0]), rel=1e-6)
    wealth = (1 + net).cumprod()
    peak = np.maximum(wealth.cummax(), 1.0)
    assert found["max_drawdown"] == pytest.approx(float((wealth / peak - 1).min()), rel=1e-6)
    json.dumps(found, allow_nan=False)


def test_industry_momentum_is_found_in_the_real_data(nb: ModuleType, monthly: pd.DataFrame) -> None:
    """Moskowitz and Grinblatt (1999) found industry momentum in these decades; the study must not miss it."""
    panel = nb.clean_panel(monthly[INDUSTRIES].loc[:"2000"], "french")
    found = nb.analyse(panel, nb.resolve(panel, {**DEFAULTS, "quantiles": 3}, "momentum"))
    assert found["supported"]
    assert 2 < found["estimate"] < 12


def test_overlapping_holding_is_the_mean_of_the_formations(nb: ModuleType, monthly: pd.DataFrame) -> None:
    returns = monthly[INDUSTRIES].to_numpy()
    bucket = nb.buckets(nb.signal_matrix(returns, "momentum", 12, 1), 3)
    one, six = nb.portfolio_weights(bucket, 3, 1), nb.portfolio_weights(bucket, 3, 6)
    for t in (16, 17, 300):
        assert six[t] == pytest.approx(one[t - 5 : t + 1].mean(axis=0), abs=1e-12)
    assert not six[15].any()


@pytest.mark.parametrize("frequency", ["D", "W-FRI", "QE"])
def test_frequency_and_unit_are_detected(nb: ModuleType, frequency: str) -> None:
    dates = (
        pd.bdate_range("2010-01-01", periods=300)
        if frequency == "D"
        else pd.date_range("1980", periods=150, freq=frequency)
    )
    scale = {"D": 0.01, "W-FRI": 0.02, "QE": 0.08}[frequency]
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(0, scale, (len(dates), 6)), index=dates, columns=list("abcdef")
    )
    names = {"D": ("daily", 252), "W-FRI": ("weekly", 52), "QE": ("quarterly", 4)}
    for factor, word in ((1, "fractions"), (100, "percent")):
        panel = nb.clean_panel(frame * factor, "x")
        assert (panel["frequency"], panel["per_year"]) == names[frequency]
        assert word in " ".join(panel["notes"])
        assert panel["returns"].to_numpy() == pytest.approx(frame.to_numpy())


def test_long_and_wide_files_of_every_format_agree(nb: ModuleType, monthly: pd.DataFrame, tmp_path: Path) -> None:
    wide = monthly[INDUSTRIES].iloc[:80].rename_axis("date")
    long = wide.reset_index().melt("date", var_name="ticker", value_name="ret").sample(frac=1, random_state=0)
    wide.to_csv(tmp_path / "wide.csv")
    wide.to_parquet(tmp_path / "wide.parquet")
    wide.reset_index().to_excel(tmp_path / "wide.xlsx", index=False)
    long.to_csv(tmp_path / "long.csv", index=False, sep=";")
    for name in ("wide.csv", "wide.parquet", "wide.xlsx", "long.csv"):
        panel = nb.load_panel(name, str(tmp_path), "momentum", 0)
        assert panel["returns"][INDUSTRIES].to_numpy() == pytest.approx(wide.to_numpy())


def test_missing_returns_and_delistings_do_not_look_ahead(nb: ModuleType, monthly: pd.DataFrame) -> None:
    wide = monthly[INDUSTRIES] * 100
    wide.iloc[200:, 0] = np.nan
    wide.iloc[100:104, 1] = -99.99
    panel = nb.clean_panel(wide, "x")
    assert "4 entries with a missing-value code" in " ".join(panel["notes"])
    plan = nb.resolve(panel, {**DEFAULTS, "quantiles": 3}, "momentum")
    run = nb.run_backtest(panel, plan)
    assert not run["weights"][200:, 0].any()
    assert run["weights"].sum(axis=1) == pytest.approx(0, abs=1e-12)
    later = {**panel, "returns": panel["returns"].copy()}
    later["returns"].iloc[400:] *= -1
    assert np.array_equal(run["weights"][:400], nb.run_backtest(later, plan)["weights"][:400])


@pytest.mark.parametrize("signal", ["reversal", "momentum", "low_volatility"])
def test_known_effect_is_recovered_and_the_null_twin_is_not_supported(nb: ModuleType, signal: str) -> None:
    for null in (False, True):
        panel = nb.synthetic_panel(signal, 0, null)
        found = nb.analyse(panel, nb.resolve(panel, DEFAULTS, signal))
        assert found["supported"] is not null
        assert found["ci_low"] <= found["planted"] <= found["ci_high"]
        assert (abs(found["planted"]) < 0.2) if null else (8 < found["planted"] < 11)
        assert found["data"] == ("synthetic-null" if null else "synthetic")
        json.dumps(found, allow_nan=False)
    file = nb.analyse({**panel, "label": "synthetic_or_not.csv"}, nb.resolve(panel, DEFAULTS, signal))
    assert "of the given data" in file["summary"]
    assert file["limits"][0].startswith("The result describes this sample")


def test_the_known_effect_is_the_mean_of_many_noisy_studies(nb: ModuleType) -> None:
    rows = [nb.science(seed, False) for seed in range(15)]
    errors = np.array([r["estimate"] - r["truth"] for r in rows])
    assert abs(errors.mean()) < 3 * errors.std(ddof=1) / np.sqrt(len(errors))


def test_topic_decides_the_signal(nb: ModuleType) -> None:
    for topic, signal in {
        "Short Term Reversal": "reversal",
        "contrarian profits": "reversal",
        "Industry momentum": "momentum",
        "Low-Volatility anomaly": "low_volatility",
        "something else": "momentum",
    }.items():
        assert nb.choose_signal("auto", topic)[0] == signal
    assert nb.choose_signal("reversal", "Momentum")[0] == "reversal"
    assert "none of the known signals" in nb.choose_signal("auto", "something else")[1]
    assert nb.windows("reversal", "monthly", "Long-term reversal") == {"lookback": 60, "skip": 12, "holding": 1}
    assert nb.windows("momentum", "daily") == {"lookback": 252, "skip": 21, "holding": 21}


def broken(monthly: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """File name -> (content, what the sentence must say)."""
    wide = monthly[INDUSTRIES].iloc[:100].rename_axis("date")
    long = wide.reset_index().melt("date", var_name="asset", value_name="return")
    text = wide.astype(object)
    text.iloc[7, 2] = "n.m."
    return {
        "no_date.csv": (wide.to_csv(index=False), "date column.*found the columns NoDur, Durbl"),
        "no_return.csv": (
            long.rename(columns={"return": "price"}).to_csv(index=False),
            "return column.*date, asset, price",
        ),
        "no_asset.csv": (
            long.rename(columns={"asset": "what"}).to_csv(index=False),
            "asset column.*date, what, return",
        ),
        "text.csv": (text.to_csv(), "Manuf must hold numbers, found 'n.m.' in row 8"),
        "bad_date.csv": (
            wide.reset_index().astype({"date": str}).replace("1950-03-01", "soon").to_csv(index=False),
            "'soon' in row 15",
        ),
        "one_asset.csv": (wide[["NoDur"]].to_csv(), "several assets; found only 1 return column"),
        "three_rows.csv": (wide.iloc[:3].to_csv(), "only 3 dates"),
        "short.csv": (wide.iloc[:30].to_csv(), "30 monthly dates.*need at least 37"),
        "empty.csv": ("", "cannot be read|no rows"),
        "header.csv": ("date,a,b\n", "holds no rows"),
        "twice.csv": (pd.concat([wide, wide.iloc[[4]]]).to_csv(), "1949-05-01 appears more than once"),
        "twice_long.csv": (
            pd.concat([long, long.iloc[[4]]]).to_csv(index=False),
            "1949-05-01 appears more than once for NoDur",
        ),
        "nan.csv": (wide.mask(wide.notna()).to_csv(), "no numbers"),
        "prices.csv": ((1 + wide).cumprod().to_csv(), "look like prices"),
        "few.csv": (wide.iloc[:, :4].to_csv(), "5 quantiles need at least as many assets; found 4"),
        "uneven.csv": (
            wide.set_axis(pd.date_range("1950", periods=100, freq="11D").rename("date")).to_csv(),
            "median gap found is 11.0",
        ),
    }


def test_a_file_in_the_wrong_shape_gives_one_sentence(nb: ModuleType, monthly: pd.DataFrame, tmp_path: Path) -> None:
    for name, (content, message) in broken(monthly).items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message) as error:
            nb.resolve(nb.load_panel(name, str(tmp_path), "momentum", 0), DEFAULTS, "momentum")
        assert str(error.value).endswith(".")
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"missing\.csv does not exist"):
        nb.load_panel("missing.csv", str(tmp_path), "momentum", 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lookback": -1}, "lookback"),
        ({"holding": 1.5}, "holding"),
        ({"quantiles": "many"}, "quantiles"),
        ({"cost_bps": "x"}, "cost_bps"),
        ({"cost_bps": -3}, "cost_bps"),
        ({"signal": "magic"}, "signal"),
    ],
)
def test_bad_parameters_are_refused(nb: ModuleType, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nb.read_parameters(DEFAULTS, given)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # marimo looks for pytest's variables to decide what a test cell is; the child must not see those of this process.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    full = [sys.executable, "-m", *command]
    done = subprocess.run(full, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def test_lint_and_own_tests_of_the_notebook(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "notebook.py", tmp_path)
    run(tmp_path, "marimo", "check", "--strict", "notebook.py")
    assert "4 passed" in run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "notebook.py").stdout


def test_export_on_a_real_file_with_a_hostile_topic(monthly: pd.DataFrame, tmp_path: Path) -> None:
    source = (FOLDER / "notebook.py").read_text(encoding="utf-8")
    topic = "<img src=x onerror=alert(1)> *Momentum* {1+1} $x$"
    (tmp_path / "notebook.py").write_text(source.replace('"Short Term Reversal"', repr(topic)), encoding="utf-8")
    (tmp_path / "data").mkdir()
    monthly[INDUSTRIES].to_csv(tmp_path / "data" / "returns.csv")
    arguments = ("--data", "data/returns.csv", "--lookback", "6", "--quantiles", "3")
    run(tmp_path, "marimo", "export", "session", "notebook.py", "--force-overwrite", "--", *arguments)
    session = json.loads((tmp_path / "__marimo__" / "session" / "notebook.py.json").read_text(encoding="utf-8"))
    outputs = [output.get("data", {}) for cell in session["cells"] for output in cell["outputs"]]
    assert not any("error" in str(output.get("type")) for cell in session["cells"] for output in cell["outputs"])
    titles = [o["text/markdown"] for o in outputs if "Decided before looking" in o.get("text/markdown", "")]
    assert titles
    assert "<img" not in titles[0]
    assert "<em>Momentum" not in titles[0]
    shown = [o["application/json"] for o in outputs if "application/json" in o]
    verdict = json.loads(shown[-1]) if isinstance(shown[-1], str) else shown[-1]
    assert verdict["data"] == "returns.csv"
    assert str(verdict["lookback"]).endswith("6")
    assert "Synthetic" not in json.dumps(session)
