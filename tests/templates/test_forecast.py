"""forecast: model and tests against statsmodels, scipy and pandas on weekly CO2; known effect, null twin, bad files."""

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
from statsmodels.datasets import co2
from statsmodels.regression.linear_model import OLS
from statsmodels.tsa.holtwinters import SimpleExpSmoothing
from statsmodels.tsa.seasonal import seasonal_decompose
from statsmodels.tsa.stattools import acf

FOLDER = Path(__file__).resolve().parents[2] / "research_templates" / "forecast"
DEFAULTS = {"data": "", "date": "", "value": "", "horizon": 12, "season": 0, "seed": 0}


@pytest.fixture(scope="module")
def nb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("forecast_notebook", FOLDER / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weekly() -> pd.Series:
    """Weekly CO2 at Mauna Loa, ppm, with 59 missing weeks."""
    return co2.load_pandas().data["co2"]


def test_seasonal_indices_are_those_of_statsmodels(nb: ModuleType, weekly: pd.Series) -> None:
    values = weekly.interpolate().to_numpy()
    for season, end in ((52, 700), (52, 1999), (13, 400)):
        expected = seasonal_decompose(values[: end + 1], model="additive", period=season).seasonal[:season]
        found = nb.seasonal_indices(values, season, np.array([end]))[0]
        assert found == pytest.approx(expected, abs=1e-9)


def test_theta_forecast_is_smoothing_plus_half_the_slope(nb: ModuleType, weekly: pd.Series) -> None:
    """Hyndman and Billah (2003): simple exponential smoothing with a drift of half the slope of the trend line."""
    values = weekly.interpolate().to_numpy()
    season, end, steps = 52, 1500, np.arange(1, 61)
    adjusted = values[: end + 1] - np.resize(nb.seasonal_indices(values, season, np.array([end]))[0], end + 1)
    fits = {}
    for constant in np.linspace(0.04, 1.0, 25):
        model = SimpleExpSmoothing(adjusted, initialization_method="known", initial_level=adjusted[0])
        fits[constant] = model.fit(smoothing_level=constant, optimized=False)
    best = min(fits, key=lambda a: fits[a].sse)
    slope = OLS(adjusted, np.column_stack([np.ones(end + 1), np.arange(end + 1)])).fit().params[1]
    drift = slope / 2 * (steps - 1 + (1 - (1 - best) ** (end + 1)) / best)
    pattern = nb.seasonal_indices(values, season, np.array([end]))[0][(end + steps) % season]
    expected = fits[best].forecast(60) + drift + pattern
    found = nb.theta_forecasts(values, np.array([700, end]), 60, season)[1]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_grid_of_constants_loses_nothing_to_an_optimiser(nb: ModuleType) -> None:
    values = nb.synthetic_series(3, False)["values"]
    adjusted = values - np.resize(nb.seasonal_indices(values, 12, np.array([479]))[0], 480)
    model = SimpleExpSmoothing(adjusted, initialization_method="known", initial_level=adjusted[0])
    grid = min(model.fit(smoothing_level=a, optimized=False).sse for a in np.linspace(0.04, 1.0, 25))
    assert grid < 1.005 * model.fit().sse


def test_figures_on_weekly_co2_match_an_independent_computation(
    nb: ModuleType, weekly: pd.Series, tmp_path: Path
) -> None:
    weekly.rename_axis("week").reset_index().to_csv(tmp_path / "co2.csv", index=False)
    series = nb.load_series("co2.csv", str(tmp_path), "", "", 0)
    assert (series["calendar"]["name"], len(series["values"]), int((~series["observed"]).sum())) == ("weekly", 2284, 59)
    assert any("59 of 2284 weekly periods" in note for note in series["notes"])
    assert series["values"] == pytest.approx(weekly.interpolate().to_numpy())
    plan = nb.resolve(series, {**DEFAULTS, "horizon": 26})
    assert plan["season"] == 52
    first = np.diff(weekly.interpolate().to_numpy()[: int(np.ceil(0.3 * 2284))])
    assert plan["season_acf"] == pytest.approx(acf(first, nlags=52, fft=False)[52], rel=1e-9)
    found = nb.analyse(series, plan)

    observed = weekly.to_numpy()
    filled = weekly.interpolate().to_numpy()
    model = nb.theta_forecasts(filled, plan["origins"], 26, 52)[:, -1]
    for i in (0, 77, len(model) - 1):  # the same forecast from a series that ends at the origin
        o = plan["origins"][i]
        assert nb.theta_forecasts(filled[: o + 1], np.array([o]), 26, 52)[0, -1] == pytest.approx(model[i], rel=1e-12)
    target = observed[plan["origins"] + 26]
    rules = {"seasonal naive": filled[plan["origins"] + 26 - 52], "naive": filled[plan["origins"]]}
    rules["drift"] = filled[plan["origins"]] * (1 + 26 / plan["origins"]) - filled[0] * 26 / plan["origins"]
    losses = pd.DataFrame({name: np.abs(target - f) for name, f in {**rules, "theta": model}.items()})
    best = losses[list(rules)].iloc[: plan["choose"]].mean().idxmin()
    assert found["baseline"] == best
    scored = losses.iloc[plan["score"] :].dropna()
    d = (scored[best] - scored["theta"]).to_numpy()
    assert found["n_obs"] == len(d)
    assert found["estimate"] == pytest.approx(d.mean(), rel=1e-9)
    assert found["mae_model"] == pytest.approx(scored["theta"].mean(), rel=1e-9)
    assert found["skill_percent"] == pytest.approx(100 * d.mean() / scored[best].mean(), rel=1e-9)
    assert found["supported"] == (found["ci_low"] > 0 and found["placebo_p"] <= 0.05 and found["beats_every_baseline"])
    size, inside = np.abs(target - model), []
    for i in range(plan["score"], len(size)):
        past = np.sort(
            [e for e, o in zip(size, plan["origins"], strict=True) if o + 26 <= plan["origins"][i] and e >= 0]
        )
        inside.append(size[i] <= past[int(np.ceil((len(past) + 1) * 0.8)) - 1] if size[i] >= 0 else np.nan)
    assert found["coverage_80"] == pytest.approx(np.nanmean(inside), abs=1e-12)
    assert any("too narrow" in limit for limit in found["limits"]) == (found["coverage_80"] < 0.73)
    json.dumps(found, allow_nan=False)


def test_interval_and_p_value_match_scipy(nb: ModuleType) -> None:
    rng = np.random.default_rng(0)
    d = np.convolve(rng.normal(0.1, 1, 230), np.ones(12) / 12, "valid")
    found = nb.mean_test(d)
    _, power = scipy.signal.periodogram(d, detrend="constant", scaling="density", return_onesided=False)
    ordinates = int(len(d) ** (1 / 3))
    error = np.sqrt(power[1 : ordinates + 1].mean() / len(d))
    half = scipy.stats.t.ppf(0.975, 2 * ordinates) * error
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((d.mean() - half, d.mean() + half), rel=1e-6)
    assert found["p"] == pytest.approx(2 * scipy.stats.t.sf(abs(d.mean() / error), 2 * ordinates), rel=1e-5)


def test_diebold_mariano_matches_least_squares_with_a_rectangular_window(nb: ModuleType) -> None:
    """statsmodels' HAC with uniform weights is the original statistic; Harvey, Leybourne and Newbold scale it."""
    rng = np.random.default_rng(1)
    d = np.convolve(rng.normal(0.2, 1, 130), np.ones(6) / 6, "valid")
    n, h = len(d), 6
    options = {"maxlags": h - 1, "kernel": "uniform", "use_correction": False}
    plain = float(OLS(d, np.ones(n)).fit(cov_type="HAC", cov_kwds=options).tvalues[0])
    t = plain * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    found = nb.diebold_mariano(d, h)
    assert found["t"] == pytest.approx(t, rel=1e-8)
    assert found["p"] == pytest.approx(2 * scipy.stats.t.sf(abs(t), n - 1), rel=1e-5)


def test_conformal_intervals_use_known_targets_only(nb: ModuleType) -> None:
    series = nb.synthetic_series(0, False)
    plan = nb.resolve(series, {**DEFAULTS, "horizon": 6})
    errors = np.abs(nb.backtest(series, plan)["errors"]["theta"])
    before = nb.interval_widths(errors, plan, 0.8)
    changed = errors.copy()
    changed[200:] *= 50
    after = nb.interval_widths(changed, plan, 0.8)
    known = 200 - plan["score"]
    assert np.array_equal(before[: known + 1], after[: known + 1])
    assert not np.array_equal(before, after)
    past = np.sort(errors[: plan["score"] + 20 - 5, 5])
    assert before[20, 5] == past[int(np.ceil((len(past) + 1) * 0.8)) - 1]


def test_known_effect_is_recovered_and_the_null_twin_is_not_supported(nb: ModuleType) -> None:
    truth = {null: nb.planted_truth(null, 40) for null in (False, True)}
    for null in (False, True):
        assert truth[null] == pytest.approx(nb.planted_gain(null), abs=0.1)
        series = nb.synthetic_series(0, null)
        found = nb.analyse(series, nb.resolve(series, DEFAULTS))
        assert found["supported"] is not null
        assert found["ci_low"] <= nb.planted_gain(null) <= found["ci_high"]
        assert found["season"] == (1 if null else 12)
        assert abs(found["coverage_95"] - 0.95) < 0.05 or null
        json.dumps(found, allow_nan=False)
    file = nb.analyse({**series, "label": "synthetic_or_not.csv"}, nb.resolve(series, DEFAULTS))
    assert "synthetic" not in file["summary"]


def test_calendars_and_gaps(nb: ModuleType) -> None:
    rng = np.random.default_rng(2)
    for freq, name, season in (
        ("D", "daily", 7),
        ("B", "business-daily", 5),
        ("W", "weekly", 52),
        ("MS", "monthly", 12),
        ("ME", "monthly", 12),
        ("QE", "quarterly", 4),
        ("YE", "yearly", 1),
        ("h", "hourly", 24),
    ):
        dates = pd.date_range("2000-01-03", periods=120, freq=freq)
        values = pd.Series(rng.normal(size=120), index=dates, name="x")
        series = nb.regular_series(values.drop(dates[[5, 6, 40]]), "x")
        assert (series["calendar"]["name"], series["calendar"]["season"]) == (name, season)
        assert len(series["values"]) == 120
        assert list(np.flatnonzero(~series["observed"])) == [5, 6, 40]
        assert (series["dates"] - dates).to_series().abs().max() <= pd.Timedelta(days=1)
        assert "3 of 120" in " ".join(series["notes"])
        following = nb.dates_at(
            series["calendar"], series["start"], series["calendar"]["position"][0] + np.array([120])
        )
        assert abs(following[0] - pd.date_range(dates[-1], periods=2, freq=freq)[1]) <= pd.Timedelta(days=1)


def broken() -> dict[str, tuple[str, str]]:
    """File name -> (content, what the sentence must say)."""
    dates = pd.date_range("2000-01-31", periods=120, freq="ME").strftime("%Y-%m-%d")
    good = pd.DataFrame({"date": dates, "sales": np.random.default_rng(0).normal(100, 5, 120).round(2)})
    text, text.loc[9, "sales"] = good.astype(object), "n/k"
    half = good.assign(sales=good["sales"].where(np.arange(120) % 2 == 0))
    uneven = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.random.default_rng(1).exponential(5, 120).cumsum(), "D")
    return {
        "no_date.csv": (good[["sales"]].to_csv(index=False), "date column.*found the columns sales"),
        "no_value.csv": (good[["date"]].to_csv(index=False), "value column besides the date"),
        "text.csv": (text.to_csv(index=False), "sales must hold numbers, found 'n/k' in row 10"),
        "bad_date.csv": (good.to_csv(index=False).replace("2000-03-31", "soon"), "'soon' in row 3"),
        "three.csv": (good.iloc[:3].to_csv(index=False), "only 3 dated values"),
        "short.csv": (good.iloc[:40].to_csv(index=False), "40 monthly values.*needs at least 8"),
        "empty.csv": ("", "cannot be read|no rows"),
        "header.csv": ("date,sales\n", "no rows"),
        "twice.csv": (pd.concat([good, good.iloc[[4]]]).to_csv(index=False), "2000-05-31 appears more than once"),
        "nan.csv": (good.assign(sales=np.nan).to_csv(index=False), "no numbers"),
        "constant.csv": (good.assign(sales=5).to_csv(index=False), "always holds 5"),
        "half.csv": (half.to_csv(index=False), "59 of 119 monthly periods have no value"),
        "uneven.csv": (good.assign(date=uneven.strftime("%Y-%m-%d %H:%M")).to_csv(index=False), "irregular"),
    }


def test_a_file_in_the_wrong_shape_gives_one_sentence(nb: ModuleType, tmp_path: Path) -> None:
    for name, (content, message) in broken().items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message) as error:
            nb.resolve(nb.load_series(name, str(tmp_path), "", "", 0), DEFAULTS)
        assert str(error.value).endswith(".")
        assert "\n" not in str(error.value)
    (tmp_path / "good.csv").write_text(broken()["text.csv"][0].replace("n/k", "1"))
    for date, value, message in (
        ("when", "", "column when.*date, sales"),
        ("", "profit", "column profit.*date, sales"),
    ):
        with pytest.raises(ValueError, match=message):
            nb.load_series("good.csv", str(tmp_path), date, value, 0)


@pytest.mark.parametrize(
    ("given", "message"), [({"horizon": 0}, "horizon"), ({"horizon": "x"}, "horizon"), ({"season": 2.5}, "season")]
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


def test_export_on_a_real_file_with_a_hostile_topic(weekly: pd.Series, tmp_path: Path) -> None:
    source = (FOLDER / "notebook.py").read_text(encoding="utf-8")
    topic = "<img src=x onerror=alert(1)> *CO2* {1+1} $x$"
    (tmp_path / "notebook.py").write_text(
        source.replace('"Forecasting a monthly series"', repr(topic)), encoding="utf-8"
    )
    monthly = weekly.resample("MS").mean().rename("<b>ppm</b>").rename_axis("month").reset_index()
    monthly.to_excel(tmp_path / "co2.xlsx", index=False)
    arguments = ("--data", "co2.xlsx", "--horizon", "6")
    run(tmp_path, "marimo", "export", "session", "notebook.py", "--force-overwrite", "--", *arguments)
    session = json.loads((tmp_path / "__marimo__" / "session" / "notebook.py.json").read_text(encoding="utf-8"))
    assert not any("error" in str(output.get("type")) for cell in session["cells"] for output in cell["outputs"])
    outputs = [output.get("data", {}) for cell in session["cells"] for output in cell["outputs"]]
    shown = [o["text/markdown"] for o in outputs if "text/markdown" in o]
    assert any("Decided before looking" in text for text in shown)
    assert not any("<img" in text or "<b>" in text or "<em>CO2" in text for text in shown)
    found = [o["application/json"] for o in outputs if "application/json" in o]
    verdict = json.loads(found[-1]) if isinstance(found[-1], str) else found[-1]
    assert verdict["data"] == "co2.xlsx"
    assert "Synthetic" not in json.dumps(session)
