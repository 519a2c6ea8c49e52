# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "marimo>=0.25.2,<0.26",
#     "numpy>=2.0",
#     "pandas>=2.2",
#     "altair>=5.5",
#     "matplotlib>=3.9",
#     "pyarrow>=16",
#     "openpyxl>=3.1",
# ]
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Equity signal study")

with app.setup:
    import functools
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import numpy as np
    import pandas as pd


@app.cell(hide_code=True)
def title(settings, signal, signal_reason, study):
    _text = words_for(signal)
    _label = {"synthetic": " (synthetic data)", "synthetic-null": " (synthetic data without an effect)"}.get(settings["data"], "")
    _references = "\n".join(f"    - {_name}{'' if _name.endswith('?') else '.'} [doi:{_doi}](https://doi.org/{_doi})" for _name, _doi in _text["references"])
    mo.md(f"""
        # {plain(study["topic"])}{_label}

        **Question.** {_text["claim"]}: is that true in these data, and does anything remain after trading costs?

        {signal_reason}

        **Mechanism.** {_text["why"]}

        **Decided before looking.** The claim counts as supported only if (1) the 95 % interval of the mean *gross* return of the
        long-short portfolio lies above zero and (2) that mean beats at least 95 % of the portfolios built from shuffled signals.
        The headline is gross because a trading cost is an assumption, not an observation; the net figure is reported next to it.

        **What would falsify it.** An interval that contains zero; a placebo that does as well; a result carried by a single
        subperiod or by one cell of the lookback × holding map; returns that do not rise from quantile to quantile.

        **References**

    {_references}
        - Newey and West (1987), A heteroskedasticity and autocorrelation consistent covariance matrix. [doi:10.2307/1913610](https://doi.org/10.2307/1913610)
        - Lazarus, Lewis, Stock and Watson (2018), HAR inference: recommendations for practice. [doi:10.1080/07350015.2018.1506926](https://doi.org/10.1080/07350015.2018.1506926)
        - Novy-Marx and Velikov (2016), A taxonomy of anomalies and their trading costs. [doi:10.1093/rfs/hhv063](https://doi.org/10.1093/rfs/hhv063)

        Template {study["template"]} {study["version"]}, seed {settings["seed"]}{", session " + plain(study["session"]) if study["session"] else ""}.
        """)
    return


@app.cell
def study():
    study = {
        "topic": "Short Term Reversal",
        "template": "equity_signal",
        "version": "1.0.0",
        "parameters": {
            "data": "synthetic",
            "signal": "auto",
            "lookback": 0,
            "holding": 0,
            "quantiles": 5,
            "cost_bps": 10.0,
            "seed": 0,
        },
        "session": "",
        "seed": 0,
    }
    return (study,)


@app.cell(hide_code=True)
def controls(study):
    _start = read_parameters(study["parameters"], mo.cli_args().to_dict())
    controls = mo.ui.dictionary(
        {
            "data": mo.ui.text(value=_start["data"], label="Data: synthetic, synthetic-null or a file", full_width=True),
            "signal": mo.ui.dropdown(["auto", "reversal", "momentum", "low_volatility"], value=_start["signal"], label="Signal"),
            "lookback": mo.ui.number(0, 2600, value=_start["lookback"], label="Lookback (periods; 0 = usual for the signal)"),
            "holding": mo.ui.number(0, 520, value=_start["holding"], label="Holding (periods; 0 = usual for the signal)"),
            "quantiles": mo.ui.slider(2, 20, value=_start["quantiles"], label="Quantiles", show_value=True),
            "cost_bps": mo.ui.number(0, 1000, value=_start["cost_bps"], label="Cost (basis points of the value traded)"),
            "seed": mo.ui.number(0, 2**31 - 1, value=_start["seed"], label="Seed"),
        }
    )
    mo.vstack([controls["data"], mo.hstack([controls[_k] for _k in _start if _k != "data"], wrap=True, justify="start", gap=1.5)])
    return (controls,)


@app.cell(hide_code=True)
def settings(controls, study):
    settings = read_parameters(study["parameters"], controls.value)
    signal, signal_reason = choose_signal(settings["signal"], study["topic"])
    return settings, signal, signal_reason


@app.cell(hide_code=True)
def load(settings, signal, study):
    panel = load_panel(settings["data"], str(mo.notebook_dir() or "."), signal, settings["seed"], study["topic"])
    plan = resolve(panel, settings, signal, study["topic"])
    tag = {"synthetic": "Synthetic data: ", "synthetic-null": "Synthetic null data: "}.get(panel["label"], "")
    return panel, plan, tag


@app.cell(hide_code=True)
def coverage(panel, tag):
    _r = panel["returns"]
    _alive = _r.notna().sum(axis=1)
    _span = _r.apply(lambda c: c.last_valid_index() - c.first_valid_index())
    _ended = int((_r.apply(lambda c: c.last_valid_index()) < _r.index[-1]).sum())
    _inside = sum(int(_r[c].loc[_r[c].first_valid_index() : _r[c].last_valid_index()].isna().sum()) for c in _r)
    _rows = {
        "Source": panel["label"],
        "Frequency": f"{panel['frequency']} ({panel['per_year']} periods per year)",
        "First and last date": f"{_r.index[0]:%Y-%m-%d} to {_r.index[-1]:%Y-%m-%d}",
        "Dates": f"{len(_r):,}",
        "Assets": f"{_r.shape[1]:,}",
        "Assets per date (lowest, median, highest)": f"{_alive.min()}, {int(_alive.median())}, {_alive.max()}",
        "Missing inside an asset's life": f"{_inside:,} ({percent(_inside / max(1, int(_r.notna().sum().sum()) + _inside), 2)})",
        "Assets that end before the last date": str(_ended),
        "Mean and standard deviation of a return": f"{percent(np.nanmean(_r), 2)}, {percent(np.nanstd(_r), 2)} per period",
    }
    _chart = (
        alt.Chart(pd.DataFrame({"date": _alive.index, "assets": _alive.to_numpy()}).iloc[:: max(1, len(_alive) // 1500)])
        .mark_area(opacity=0.5, line=True)
        .encode(alt.X("date:T", title="Date"), alt.Y("assets:Q", title="Assets with a return (number)"))
        .properties(title=f"{tag}Assets with a return on each date", width=620, height=140)
    )
    mo.vstack(
        [
            mo.md("## Data"),
            mo.md(text_table([{"Item": _k, "Value": _v} for _k, _v in _rows.items()])),
            mo.md(
                f"{plain(' '.join(panel['notes']))} An asset enters a ranking on a date only if it has a return on that date and on at least "
                f"two thirds of the lookback. A return that is missing while the asset is held counts as zero."
            ),
            _chart,
        ]
    )
    return


@app.cell(hide_code=True)
def method(panel, plan):
    _w = words_for(plan["signal"])
    mo.md(rf"""
    ## Method

    At the end of each period $t$ every asset gets the score ({_w["score"]})

    $${_w["formula"]}$$

    with lookback $L = {plan["lookback"]}$ and skip ${plan["skip"]}$ ({panel["frequency"]} periods). The assets are ranked and cut into
    {plan["quantiles"]} quantiles; the portfolio is long the top quantile and short the bottom one, one dollar each, equal weights:
    $\sum_i w_{{i,t}} = 0$. With holding $H = {plan["holding"]}$ the weights are the mean of the last $H$ formations
    (overlapping portfolios), so every period is used and no return is counted twice.

    The return of period $t+1$ uses only weights known at $t$: $R_{{t+1}} = \sum_i w_{{i,t}} r_{{i,t+1}}$. Costs are
    {plan["cost_bps"]:g} basis points of the value traded, $\sum_i |w_{{i,t}} - w_{{i,t-1}}(1 + r_{{i,t}})|$.

    Uncertainty: Newey–West standard error of the mean with lag $\lfloor 4 (T/100)^{{2/9}} \rfloor$ and Student $t$ critical values with
    $\nu = 1.5\,T/(\text{{lag}}+1)$ degrees of freedom, which keeps the interval honest in short samples (Lazarus and others 2018).
    Means are multiplied by {panel["per_year"]} to give figures per year.
    """)
    return


@app.cell(hide_code=True)
def base_run(panel, plan):
    base = run_backtest(panel, plan)
    if len(base["gross"]) < 24:
        raise ValueError(
            f"Only {len(base['gross'])} periods have enough ranked assets for {plan['quantiles']} quantiles; at least 24 are needed."
        )
    dates = panel["returns"].index[base["row"]]
    gross_test = mean_test(base["gross"], 100 * panel["per_year"])
    net_test = mean_test(base["net"], 100 * panel["per_year"])
    return base, dates, gross_test, net_test


@app.cell(hide_code=True)
def performance(base, dates, gross_test, net_test, panel, plan, tag):
    _wealth = thin(
        pd.DataFrame({"date": dates, "gross": np.cumsum(base["gross"]) * 100, "net of costs": np.cumsum(base["net"]) * 100})
    ).melt("date", var_name="return", value_name="sum")
    _lines = (
        alt.Chart(_wealth)
        .mark_line()
        .encode(
            alt.X("date:T", title="Date"),
            alt.Y("sum:Q", title="Cumulative return (% of one leg, summed)"),
            alt.Color("return:N", title="Return", scale=alt.Scale(domain=["gross", "net of costs"], range=["#1f5f8b", "#d1782f"])),
        )
        .properties(title=f"{tag}Cumulative long-short return", width=620, height=240)
    )
    _zero = alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
    _planted = 100 * panel["per_year"] * planted_mean(panel, base) if panel["expected"] is not None else 0.0
    mo.vstack(
        [
            mo.md("## Results\n\n### Return of the long-short portfolio"),
            _zero + _lines,
            mo.md(
                f"Over {gross_test['n']:,} {panel['frequency']} periods ({dates[0]:%Y-%m} to {dates[-1]:%Y-%m}) the mean gross return is "
                f"**{gross_test['mean']:.2f} % per year** (95 % interval {gross_test['ci_low']:.2f} to {gross_test['ci_high']:.2f}, "
                f"Newey–West t = {gross_test['t']:.2f} with lag {gross_test['lag']}, {p_text(gross_test['p'])}); after costs of {plan['cost_bps']:g} "
                f"basis points it is {net_test['mean']:.2f} % ({net_test['ci_low']:.2f} to {net_test['ci_high']:.2f})."
                + (
                    f" The effect planted in this panel is {_planted:.2f} % per year, {'inside' if gross_test['ci_low'] <= _planted <= gross_test['ci_high'] else 'outside'} the interval."
                    if panel["expected"] is not None
                    else ""
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def quantile_spread(base, panel, plan, tag):
    _q = quantile_returns(panel["returns"].to_numpy(), base["bucket"], plan["quantiles"])
    _q = _q[np.isfinite(_q).all(axis=1)]
    _tests = [mean_test(_q[:, _i], 100 * panel["per_year"]) for _i in range(plan["quantiles"])]
    _frame = pd.DataFrame({"quantile": range(1, plan["quantiles"] + 1), **{_k: [_t[_k] for _t in _tests] for _k in ("mean", "ci_low", "ci_high")}})
    _all = float(_frame["mean"].mean())
    _bars = alt.Chart(_frame).encode(alt.X("quantile:O", title="Quantile of the signal (1 = lowest score)", axis=alt.Axis(labelAngle=0)))
    _chart = (
        _bars.mark_bar(color="#7fa8c4").encode(alt.Y("mean:Q", title="Mean return (% per year)"))
        + _bars.mark_rule().encode(y="ci_low:Q", y2="ci_high:Q")
        + alt.Chart(pd.DataFrame({"y": [_all]})).mark_rule(strokeDash=[4, 4], color="#b03a2e").encode(y="y:Q")
    ).properties(title=f"{tag}Mean next-period return by quantile, 95 % intervals; dashed: mean of all quantiles", width=460, height=240)
    _steps = np.diff(_frame["mean"])
    mo.vstack(
        [
            mo.md("### Quantile spread"),
            _chart,
            mo.md(
                f"The highest quantile earned {_frame['mean'].iloc[-1]:.2f} % and the lowest {_frame['mean'].iloc[0]:.2f} % per year; the mean rises in "
                f"{int((_steps > 0).sum())} of {len(_steps)} steps from one quantile to the next. The intervals are wide because all quantiles share the market's "
                f"moves, which cancel in the long-short portfolio."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def ic_series(base, panel, tag):
    _ic = information_coefficients(base["scores"], panel["returns"].to_numpy())[:-1]
    _frame = pd.DataFrame({"date": panel["returns"].index[1:], "ic": _ic}).dropna()
    _window = max(6, panel["per_year"])
    _frame["mean"] = _frame["ic"].rolling(_window).mean()
    _points = thin(_frame)
    _chart = (
        alt.Chart(_points).mark_point(size=8, opacity=0.35, color="#777").encode(alt.X("date:T", title="Date of the return"), alt.Y("ic:Q", title="Rank correlation"))
        + alt.Chart(_points.dropna()).mark_line(color="#1f5f8b").encode(x="date:T", y="mean:Q")
        + alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
    ).properties(title=f"{tag}Information coefficient per period (points) and its {_window}-period mean (line)", width=620, height=220)
    if len(_frame) > 12:
        _t = mean_test(_frame["ic"].to_numpy())
        _words = (
            f"The mean rank correlation between score and next-period return is **{_t['mean']:.4f}** (Newey–West t = {_t['t']:.2f}, lag {_t['lag']}, "
            f"{_t['n']:,} periods; 95 % interval {_t['ci_low']:.4f} to {_t['ci_high']:.4f}); it is positive in {percent(np.mean(_frame['ic'] > 0))} of the periods."
        )
    else:
        _words = f"Only {len(_frame)} periods have four assets with a score and a return: too few for an information coefficient."
    mo.vstack([mo.md("### Information coefficient"), _chart, mo.md(_words)])
    return


@app.cell(hide_code=True)
def turnover(base, dates, panel, plan, tag):
    _traded = base["traded"] / 4
    _down = drawdown(base["net"])
    _frame = thin(pd.DataFrame({"date": dates, "drawdown": 100 * _down}))
    _even = 1e4 * base["gross"].mean() / base["traded"].mean() if base["traded"].mean() > 0 else float("nan")
    _costs = np.linspace(0, max(2 * plan["cost_bps"], 1.5 * _even if _even > 0 else 0, 20), 41)
    _net = pd.DataFrame({"cost": _costs, "net": 100 * panel["per_year"] * (base["gross"].mean() - _costs / 1e4 * base["traded"].mean())})
    _curve = (
        alt.Chart(_net).mark_line(color="#d1782f").encode(alt.X("cost:Q", title="Cost (basis points of value traded)"), alt.Y("net:Q", title="Mean net return (% per year)"))
        + alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
        + alt.Chart(pd.DataFrame({"x": [plan["cost_bps"]]})).mark_rule(color="#777").encode(x="x:Q")
    ).properties(title=[f"{tag}Net return", "by trading cost; grey: assumed"], width=250, height=200)
    _loss = (
        alt.Chart(_frame)
        .mark_area(color="#b03a2e", opacity=0.5)
        .encode(alt.X("date:T", title="Date"), alt.Y("drawdown:Q", title="Drawdown (%)"))
        .properties(title=[f"{tag}Loss from the highest", "value so far, net of costs"], width=280, height=200)
    )
    _position = int(np.argmin(_down))
    mo.vstack(
        [
            mo.md("### Turnover, costs and drawdown"),
            _curve | _loss,
            mo.md(
                f"In an average period {percent(_traded.mean())} of the positions are replaced ({base['traded'].mean():.2f} dollars traded per dollar in each leg). "
                + (f"The gross return pays for costs of up to **{_even:.1f} basis points**. " if _even > 0 else "There is no positive cost at which the portfolio breaks even. ")
                + f"The largest loss from a peak, net of costs, is {percent(-_down.min(), 1)}, reached in {dates[_position]:%Y-%m}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def decay(base, panel, plan, tag):
    _returns = panel["returns"].to_numpy()
    _rows = []
    for _ahead in range(1, 13):
        _ic = information_coefficients(base["scores"], _returns, _ahead)
        _ic = _ic[np.isfinite(_ic)]
        if len(_ic) > 12:
            _rows.append({"ahead": _ahead, **{_k: _v for _k, _v in mean_test(_ic).items() if _k in ("mean", "ci_low", "ci_high")}})
    _frame = pd.DataFrame(_rows, columns=["ahead", "mean", "ci_low", "ci_high"])
    _base = alt.Chart(_frame).encode(alt.X("ahead:O", title=f"Periods after the score ({panel['frequency']})", axis=alt.Axis(labelAngle=0)))
    _chart = (
        _base.mark_bar(color="#7fa8c4").encode(alt.Y("mean:Q", title="Mean rank correlation"))
        + _base.mark_rule().encode(y="ci_low:Q", y2="ci_high:Q")
        + alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
    ).properties(title=f"{tag}Decay of the signal: rank correlation with the return k periods later, 95 % intervals", width=520, height=220)
    _clear = [int(_r["ahead"]) for _r in _rows if _r["ci_low"] > 0]
    mo.vstack(
        [
            mo.md("### Decay"),
            _chart,
            mo.md(
                f"The interval lies above zero at {len(_clear)} of {len(_rows)} distances"
                + (f" (periods {', '.join(map(str, _clear))})" if _clear else "")
                + f". With {len(_rows)} looks, {0.025 * len(_rows):.1f} such distances are expected by chance alone. The verdict holds each position for {plan['holding']} period{'s' if plan['holding'] > 1 else ''}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def robustness_map(panel, plan, tag):
    _l, _h = plan["lookback"], plan["holding"]
    _least = 3 if plan["signal"] == "low_volatility" else 1
    _lookbacks = sorted({_l, *((1, 2, 3, 6, 12) if _l < 4 else (_l // 4, _l // 2, 3 * _l // 4, 3 * _l // 2))} - set(range(_least)))
    _holdings = sorted({_h, *((1, 2, 3, 6, 12) if _h < 4 else (1, _h // 2, 2 * _h, 3 * _h))})
    _rows = []
    for _a in _lookbacks:
        for _b in _holdings:
            if len(panel["returns"]) >= _a + _b + 24:
                _run = run_backtest(panel, plan, lookback=_a, holding=_b)
                if len(_run["gross"]) >= 24:
                    _t = mean_test(_run["gross"], 100 * panel["per_year"])
                    _rows.append({"lookback": _a, "holding": _b, "mean": _t["mean"], "t": _t["t"], "text": f"{_t['mean']:.1f}"})
    _frame = pd.DataFrame(_rows)
    _limit = max(1e-9, float(_frame["mean"].abs().max()))
    _base = alt.Chart(_frame).encode(
        alt.X("holding:O", title=f"Holding ({panel['frequency']} periods)", axis=alt.Axis(labelAngle=0)),
        alt.Y("lookback:O", title=f"Lookback ({panel['frequency']} periods)", sort="descending"),
    )
    _chosen = alt.Chart(_frame[(_frame["lookback"] == _l) & (_frame["holding"] == _h)]).encode(x="holding:O", y=alt.Y("lookback:O", sort="descending"))
    _chart = (
        _base.mark_rect().encode(
            alt.Color("mean:Q", title="% per year", scale=alt.Scale(scheme="redblue", domain=[-_limit, _limit], domainMid=0)),
            tooltip=["lookback", "holding", alt.Tooltip("mean:Q", format=".2f"), alt.Tooltip("t:Q", format=".2f")],
        )
        + _chosen.mark_rect(fill=None, stroke="black", strokeWidth=2)
        + _base.mark_text().encode(text="text:N", color=alt.condition(f"abs(datum.mean) > {0.6 * _limit}", alt.value("white"), alt.value("black")))
    ).properties(title=f"{tag}Mean gross return (% per year) by lookback and holding; box: pre-stated setting", width=420, height=260)
    mo.vstack(
        [
            mo.md("## Robustness\n\n### Lookback × holding"),
            _chart,
            mo.md(
                f"{int((_frame['mean'] > 0).sum())} of {len(_frame)} settings have a positive mean and {int((_frame['t'] > 2).sum())} have t above 2 (largest t = {_frame['t'].max():.2f}). "
                f"The cells share data, so they are not independent tests, and picking the best one would overstate the effect; the verdict uses the box alone."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def robustness_checks(base, dates, panel, plan, tag):
    _year = 100 * panel["per_year"]
    _rows = [{"check": "pre-stated study", **mean_test(base["gross"], _year)}]
    _edges = np.linspace(0, len(dates), 4).astype(int)
    for _a, _b in zip(_edges[:-1], _edges[1:], strict=True):
        if _b - _a >= 12:
            _rows.append({"check": f"{dates[_a]:%Y-%m} to {dates[_b - 1]:%Y-%m}", **mean_test(base["gross"][_a:_b], _year)})
    for _q in sorted({3, 10} - {plan["quantiles"]}):
        if panel["returns"].shape[1] >= 2 * _q:
            _run = run_backtest(panel, plan, quantiles=_q)
            if len(_run["gross"]) >= 24:
                _rows.append({"check": f"{_q} quantiles", **mean_test(_run["gross"], _year)})
    _run = run_backtest(panel, plan, extra_lag=1)
    if len(_run["gross"]) >= 24:
        _rows.append({"check": "traded one period later", **mean_test(_run["gross"], _year)})
    _low, _high = np.nanquantile(panel["returns"], [0.01, 0.99])
    _rows.append({"check": "returns clipped at 1 % and 99 %", **mean_test(backtest(panel["returns"].clip(_low, _high).to_numpy(), base["weights"], 0.0)["gross"], _year)})
    _market = panel["returns"].mean(axis=1).to_numpy()[base["row"]]
    _slope = np.cov(base["gross"], _market)[0, 1] / max(_market.var(ddof=1), 1e-18)
    _rows.append({"check": "market-adjusted (beta removed)", **mean_test(base["gross"] - _slope * _market, _year)})
    _frame = pd.DataFrame(_rows)
    _order = list(_frame["check"])
    _base = alt.Chart(_frame).encode(alt.Y("check:N", title=None, sort=_order, axis=alt.Axis(labelLimit=260)))
    _chart = (
        _base.mark_rule(strokeWidth=2, color="#1f5f8b").encode(alt.X("ci_low:Q", title="Mean gross return (% per year), 95 % interval"), x2="ci_high:Q")
        + _base.mark_point(filled=True, size=50, color="#1f5f8b").encode(x="mean:Q")
        + alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    ).properties(title=f"{tag}The same study with one thing changed", width=420, height=26 * len(_frame) + 20)
    _weak = _frame["check"].iloc[1:][~(_frame["ci_low"].iloc[1:] > 0)]
    mo.vstack(
        [
            mo.md("### Subperiods and other choices"),
            _chart,
            mo.md(
                f"{int((_frame['mean'].iloc[1:] > 0).sum())} of {len(_frame) - 1} variations have a positive mean and {int((_frame['ci_low'].iloc[1:] > 0).sum())} an interval above zero"
                + (f" (not: {', '.join(_weak)}). " if len(_weak) else ". ")
                + f"The portfolio's beta to the equal-weight mean of all assets is {_slope:.2f}; without that exposure the mean is {_frame['mean'].iloc[-1]:.2f} % per year "
                f"({_frame['ci_low'].iloc[-1]:.2f} to {_frame['ci_high'].iloc[-1]:.2f})."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def placebo(base, panel, plan, tag):
    _means = 100 * panel["per_year"] * placebo_means(base["scores"], panel["returns"].to_numpy(), plan)
    _seen = 100 * panel["per_year"] * base["gross"].mean()
    _share = (1 + np.sum(_means >= _seen)) / (1 + len(_means))
    _count, _edges = np.histogram(_means[np.isfinite(_means)], bins=20)
    _chart = (
        alt.Chart(pd.DataFrame({"from": _edges[:-1], "to": _edges[1:], "portfolios": _count}))
        .mark_bar(color="#bbb")
        .encode(alt.X("from:Q", title="Mean gross return (% per year)"), alt.X2("to:Q"), alt.Y("portfolios:Q", title="Shuffled portfolios (number)"), alt.Y2Datum(0))
        + alt.Chart(pd.DataFrame({"x": [_seen]})).mark_rule(color="#b03a2e", strokeWidth=2).encode(x="x:Q")
    ).properties(title=f"{tag}Placebo: portfolios from shuffled scores (grey) and the study's portfolio (red)", width=520, height=220)
    mo.vstack(
        [
            mo.md("### Placebo"),
            _chart,
            mo.md(
                f"{len(_means)} portfolios with the scores shuffled across assets on each date earn {_means.mean():.2f} % per year on average (standard deviation {_means.std(ddof=1):.2f}); "
                f"counting the study itself, {percent(_share)} do at least as well as its {_seen:.2f} %. Shuffled scores that earned money would point to an error in the pipeline."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def figure(base, dates, gross_test, panel, plan, tag):
    import matplotlib.dates as _dates
    import matplotlib.pyplot as _plt

    _fig, (_left, _right) = _plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[2, 1], layout="constrained")
    _left.plot(dates, 100 * np.cumsum(base["gross"]), label="gross", color="#1f5f8b")
    _left.plot(dates, 100 * np.cumsum(base["net"]), label=f"net of {plan['cost_bps']:g} bps", color="#d1782f")
    _left.axhline(0, color="black", lw=0.8, ls="--")
    _left.set(title="Cumulative long-short return", xlabel="Date", ylabel="% of one leg, summed")
    _ticks = _dates.AutoDateLocator(maxticks=7)
    _left.xaxis.set_major_locator(_ticks)
    _left.xaxis.set_major_formatter(_dates.ConciseDateFormatter(_ticks))
    _left.legend(frameon=False)
    _q = quantile_returns(panel["returns"].to_numpy(), base["bucket"], plan["quantiles"])
    _mean = 100 * panel["per_year"] * np.nanmean(_q, axis=0)
    _right.bar(np.arange(1, plan["quantiles"] + 1), _mean, color="#7fa8c4")
    _right.axhline(_mean.mean(), color="#b03a2e", lw=0.8, ls="--")
    _right.set(title="Mean return by quantile", xlabel="Quantile (1 = lowest score)", ylabel="% per year", xticks=np.arange(1, plan["quantiles"] + 1))
    _title = f"{tag}{words_for(plan['signal'])['name']}, {gross_test['mean']:.2f} % per year (95 % interval {gross_test['ci_low']:.2f} to {gross_test['ci_high']:.2f})"
    _fig.suptitle(_title[0].upper() + _title[1:], fontsize=11)
    _plt.close(_fig)
    _fig
    return


@app.cell(hide_code=True)
def limitations(panel, plan, verdict):
    _items = "\n".join(f"- {plain(_l)}" for _l in verdict["limits"])
    mo.md(
        "## Limitations\n\n"
        + _items
        + "\n- The interval assumes that the portfolio's mean return is stable over the sample; the subperiods above show how far that holds."
        + f"\n- {plan['quantiles']} quantiles of at most {int(panel['returns'].notna().sum(axis=1).max())} assets put about "
        f"{max(1, int(panel['returns'].notna().sum(axis=1).median()) // plan['quantiles'])} assets in each leg, so single assets can matter."
    )
    return


@app.cell(hide_code=True)
def conclusion(verdict):
    mo.md(f"## Verdict\n\n**{'Supported' if verdict['supported'] else 'Not supported'}.** {plain(verdict['summary'])}")
    return


@app.cell(hide_code=True)
def verdict(panel, plan):
    verdict = analyse(panel, plan)
    verdict
    return (verdict,)


@app.cell(hide_code=True)
def appendix():
    mo.md("""
    ## Appendix: functions and tests

    Every number above comes from the functions below; the tests run with the notebook and with `pytest notebook.py`.
    """)
    return


@app.function(hide_code=True)
def plain(text: object) -> str:
    """Text from a user as inert markdown: everything but letters, digits and simple punctuation becomes an entity."""
    return "".join(c if c.isalnum() or c in " ,.;:'-" else f"&#{ord(c)};" for c in str(text))


@app.function(hide_code=True)
def percent(share: float, digits: int = 0) -> str:
    """A share such as 0.123 as text: 12 %."""
    return f"{100 * share:.{digits}f} %"


@app.function(hide_code=True)
def p_text(p: float) -> str:
    """A p-value as text with two digits; tiny ones as a bound."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


@app.function(hide_code=True)
def text_table(rows: list[dict]) -> str:
    """Rows of equal keys as a markdown table with inert cells."""
    lines = ["| " + " | ".join(map(plain, rows[0])) + " |", "|" + ":---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(plain(v) for v in row.values()) + " |" for row in rows])


@app.function(hide_code=True)
def read_parameters(defaults: dict, given: dict) -> dict:
    """The study's parameters, overridden by the command line (`-- --lookback 12`), checked and converted."""
    values = {**defaults, **{k: v for k, v in given.items() if k in defaults}}
    limits = {"lookback": (0, 2600), "holding": (0, 520), "quantiles": (2, 20), "seed": (0, 2**31 - 1)}
    for name, (low, high) in limits.items():
        try:
            number = float(values[name])
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be a whole number, found {values[name]!r}.") from None
        if number != int(number) or not low <= number <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, found {values[name]!r}.")
        values[name] = int(number)
    try:
        values["cost_bps"] = float(values["cost_bps"])
    except (TypeError, ValueError):
        raise ValueError(f"cost_bps must be a number, found {values['cost_bps']!r}.") from None
    if not 0 <= values["cost_bps"] <= 1000:
        raise ValueError(f"cost_bps must lie between 0 and 1000, found {values['cost_bps']}.")
    if values["signal"] not in ("auto", "reversal", "momentum", "low_volatility"):
        raise ValueError(f"signal must be auto, reversal, momentum or low_volatility, found {values['signal']!r}.")
    values["data"] = str(values["data"])
    return values


@app.function(hide_code=True)
def choose_signal(signal: str, topic: str) -> tuple[str, str]:
    """The signal to test and the sentence that says why; `auto` reads it from the topic."""
    if signal != "auto":
        return signal, f"The parameter `signal` asks for {signal.replace('_', ' ')}."
    words = topic.lower().replace("-", " ")
    for name, keys in {
        "reversal": ("revers", "contrarian", "overreact"),
        "momentum": ("momentum", "winner", "trend"),
        "low_volatility": ("volatil", "low vol", "low risk", "variance", "low beta"),
    }.items():
        for key in keys:
            if key in words:
                return name, f"The topic speaks of {name.replace('_', ' ')}, so that is the signal."
    return "momentum", "The topic names none of the known signals; momentum was taken. Set `signal` to choose."


@app.function(hide_code=True)
def windows(signal: str, frequency: str, topic: str = "") -> dict:
    """Usual lookback, skip and holding of a signal, in periods of the data."""
    months = {"daily": 21, "weekly": 52 / 12, "monthly": 1, "quarterly": 1 / 3, "yearly": 1 / 12}[frequency]
    long_term = any(k in topic.lower().replace("-", " ") for k in ("long term", "long run", "long horizon"))
    if signal == "reversal" and long_term:
        lookback, skip = 60 * months, 12 * months
    elif signal == "reversal":
        lookback, skip = {"daily": 5}.get(frequency, 1), 0
    elif signal == "momentum":
        lookback, skip = 12 * months, months
    else:
        lookback, skip = 36 * months if frequency != "daily" else 252, 0
    short = signal == "reversal" and not long_term
    holding = {"daily": 5 if short else 21, "weekly": 1 if short else 4}.get(frequency, 1)
    least = 3 if signal == "low_volatility" else 1
    return {"lookback": max(least, round(lookback)), "skip": round(skip), "holding": holding}


@app.function(hide_code=True)
def words_for(signal: str) -> dict:
    """The fixed texts of a signal: its name, hypothesis, mechanism, formula and literature."""
    return {
        "reversal": {
            "name": "reversal",
            "claim": "Assets with low recent returns earn more in the next period than assets with high recent returns",
            "why": "Two mechanisms are proposed: investors overreact to news and prices come back (Lehmann 1990), or those "
            "who provide liquidity to impatient sellers are paid for it, so the price recovers after the pressure ends "
            "(Jegadeesh 1990). Bid-ask bounce produces the same pattern without any profit to be had.",
            "formula": r"s_{i,t} = -\sum_{k=\text{skip}}^{L-1} \log(1 + r_{i,t-k})",
            "score": "minus the past return",
            "references": [
                ("Jegadeesh (1990), Evidence of predictable behavior of security returns", "10.1111/j.1540-6261.1990.tb05110.x"),
                ("Lehmann (1990), Fads, martingales, and market efficiency", "10.2307/2937816"),
            ],
        },
        "momentum": {
            "name": "momentum",
            "claim": "Assets with high past returns earn more in the next period than assets with low past returns",
            "why": "Proposed mechanisms: prices underreact to news that arrives slowly (Jegadeesh and Titman 1993), or whole "
            "industries move together with delay (Moskowitz and Grinblatt 1999). The most recent month is skipped because it "
            "tends to reverse.",
            "formula": r"s_{i,t} = \sum_{k=\text{skip}}^{L-1} \log(1 + r_{i,t-k})",
            "score": "the past return",
            "references": [
                ("Jegadeesh and Titman (1993), Returns to buying winners and selling losers", "10.1111/j.1540-6261.1993.tb04702.x"),
                ("Moskowitz and Grinblatt (1999), Do industries explain momentum?", "10.1111/0022-1082.00146"),
            ],
        },
        "low_volatility": {
            "name": "low volatility",
            "claim": "Assets with low past volatility earn more in the next period than assets with high past volatility",
            "why": "Proposed mechanisms: investors who cannot borrow overpay for risky assets, and some like lottery-like "
            "payoffs (Ang and others 2006; Blitz and van Vliet 2007). A dollar-neutral portfolio is short the market here, so the "
            "market-adjusted figure in the robustness table matters as much as the raw one.",
            "formula": r"s_{i,t} = -\operatorname{sd}(r_{i,t-L+1}, \dots, r_{i,t})",
            "score": "minus the trailing standard deviation",
            "references": [
                ("Ang, Hodrick, Xing and Zhang (2006), The cross-section of volatility and expected returns", "10.1111/j.1540-6261.2006.00836.x"),
                ("Blitz and van Vliet (2007), The volatility effect", "10.3905/jpm.2007.698039"),
            ],
        },
    }[signal]


@app.function(hide_code=True)
def read_table(source: str, folder: str = ".") -> "pd.DataFrame":
    """A CSV, Parquet or Excel file as a table with text column names; every failure is one plain sentence."""
    path = Path(folder) / source
    if not path.is_file():
        raise ValueError(f"The data file {source} does not exist next to the notebook.")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
            table = table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        elif path.suffix.lower() in (".xlsx", ".xls", ".xlsm"):
            table = pd.read_excel(path)
        else:
            with path.open(encoding="utf-8-sig", errors="replace") as lines:
                header, second = lines.readline(), lines.readline()
            separator = max(",;\t|", key=header.count)
            table = pd.read_csv(path, sep=separator, decimal="," if separator == ";" and "," in second else ".")
    except Exception as error:  # noqa: BLE001 - readers raise many types; the user gets one sentence
        raise ValueError(f"The data file {source} cannot be read as {path.suffix or 'CSV'}: {str(error).splitlines()[0]}.") from error
    table.columns = [str(c).strip() for c in table.columns]
    if table.empty:
        raise ValueError(f"The data file {source} holds no rows.")
    return table


@app.function(hide_code=True)
def parse_dates(values: "pd.Series") -> "pd.Series":
    """Dates from ISO text, time stamps, or whole numbers such as 194901 and 19490131; unreadable entries become NaT."""
    if pd.api.types.is_datetime64_any_dtype(values):
        dates = values
    elif pd.api.types.is_numeric_dtype(values):
        whole = values.astype("Int64").astype(str) if (values.dropna() % 1 == 0).all() else values.astype(str)
        form = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}.get(whole.str.len().mode().iloc[0] if len(whole) else 0, "%Y%m%d")
        dates = pd.to_datetime(whole, format=form, errors="coerce")
    else:
        dates = pd.to_datetime(values.astype(str), format="mixed", errors="coerce")
    return dates.dt.tz_localize(None) if getattr(dates.dtype, "tz", None) is not None else dates


@app.function(hide_code=True)
def returns_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """Wide returns (dates x assets, floats, NaN = missing) from a wide or a long table."""
    found = ", ".join(map(str, table.columns[:12])) + (", …" if table.shape[1] > 12 else "")
    lower = {c.lower(): c for c in reversed(table.columns)}
    date = next((lower[k] for k in ("date", "dates", "month", "time", "datetime", "timestamp", "period", "week", "day", "caldt") if k in lower), None)
    if date is None and table.columns[0].lower() in ("", "index", "unnamed: 0", "level_0") and parse_dates(table.iloc[:, 0]).notna().all():
        date = table.columns[0]
    if date is None:
        raise ValueError(f"The data need a date column (named date, dates, month, time or similar); found the columns {found}.")
    asset = next((lower[k] for k in ("asset", "ticker", "symbol", "permno", "isin", "stock", "industry", "portfolio", "name", "id") if k in lower), None)
    value = next((lower[k] for k in ("return", "returns", "ret", "total_return", "ret_excess") if k in lower), None)
    if asset is None and value is not None and table.shape[1] == 3:
        raise ValueError(f"Long data need an asset column (asset, ticker, symbol or similar); found the columns {found}.")
    if asset is not None and value is None:
        raise ValueError(f"Long data need a return column (return, returns or ret); found the columns {found}.")
    dates = parse_dates(table[date])
    if dates.isna().any():
        bad = table[date][dates.isna()].iloc[0]
        raise ValueError(f"The date column {date} holds {str(bad)!r} in row {int(np.argmax(dates.isna())) + 1}, which is not a date.")
    columns = [value] if asset is not None else [c for c in table.columns if c != date]
    numbers = {}
    for column in columns:
        numeric = pd.to_numeric(table[column], errors="coerce")
        wrong = numeric.isna() & table[column].notna()
        if wrong.any():
            raise ValueError(f"The column {column} must hold numbers, found {str(table[column][wrong].iloc[0])!r} in row {int(np.argmax(wrong)) + 1}.")
        numbers[column] = numeric.astype(float).where(np.isfinite(numeric.astype(float)))
    frame = pd.DataFrame(numbers)
    if asset is not None:
        frame.insert(0, "asset", table[asset].astype(str))
    frame.insert(0, "date", dates)
    twice = frame.duplicated(["date", "asset"] if asset is not None else ["date"])
    if twice.any():
        first = frame[twice].iloc[0]
        who = f" for {first['asset']}" if asset is not None else ""
        raise ValueError(f"The date {first['date']:%Y-%m-%d} appears more than once{who}; each date may appear once per asset.")
    wide = frame.pivot(index="date", columns="asset", values=value) if asset is not None else frame.set_index("date")
    wide.columns = [str(c) for c in wide.columns]
    return wide.sort_index()


@app.function(hide_code=True)
def detect_frequency(dates: "pd.DatetimeIndex") -> tuple[str, int]:
    """Name of the data frequency and periods per year, from the median gap between dates."""
    gap = float(np.median(np.diff(dates.values).astype("timedelta64[s]").astype(float))) / 86400 if len(dates) > 1 else 0.0
    for name, low, high, year in (
        ("daily", 0.9, 2.1, 252),
        ("weekly", 6, 8, 52),
        ("monthly", 27, 32, 12),
        ("quarterly", 85, 95, 4),
        ("yearly", 350, 380, 1),
    ):
        if low <= gap <= high:
            return name, year
    raise ValueError(f"The dates must be daily, weekly, monthly, quarterly or yearly; the median gap found is {gap:.1f} days.")


@app.function(hide_code=True)
def clean_panel(wide: "pd.DataFrame", label: str) -> dict:
    """A checked panel: returns as fractions (dates x assets), its frequency, and notes on what was done."""
    notes = []
    coded = wide.isin([-99.99, -999.0, -9999.0])
    if coded.to_numpy().any():
        notes.append(f"{int(coded.to_numpy().sum()):,} entries with a missing-value code (-99.99, -999) are treated as missing.")
    wide = wide.mask(coded)
    empty = [c for c in wide.columns if wide[c].notna().sum() == 0]
    if len(empty) == wide.shape[1]:
        raise ValueError(f"The data hold no numbers: all {wide.shape[1]} return column(s) are empty.")
    if empty:
        notes.append(f"{len(empty)} empty column(s) were left out.")
    wide = wide.drop(columns=empty).dropna(how="all")
    if wide.shape[1] < 2:
        raise ValueError(f"A cross-sectional study needs several assets; found only {wide.shape[1]} return column ({wide.columns[0]}).")
    if len(wide) < 12:
        raise ValueError(f"The data hold only {len(wide)} dates with returns; a study needs at least 36.")
    frequency, per_year = detect_frequency(wide.index)
    values = wide.to_numpy()
    seen = values[np.isfinite(values)]
    if seen.min() > 0:
        raise ValueError("All values are positive, so they look like prices; give returns per period (price / previous price - 1).")
    percent = bool(np.median(np.abs(seen)) > 0.2 or seen.min() < -1.0)
    if percent:
        wide = wide / 100
        if seen.min() < -100:
            raise ValueError(f"A return of {seen.min():g} % is below -100 %, which is impossible; check the file.")
    notes.append(f"The returns look like {'percent and were divided by 100' if percent else 'fractions (0.01 = 1 %)'}.")
    return {"returns": wide, "frequency": frequency, "per_year": per_year, "label": label, "notes": notes, "expected": None}


@app.function(hide_code=True)
def synthetic_panel(signal: str, seed: int, null: bool, topic: str = "", periods: int = 360, assets: int = 80) -> dict:
    """Monthly returns with a known effect: the expected return of an asset rises by 0.3 % per month and unit of its score.

    r[i,t] = 0.6 % + beta[i] m[t] + premium * z[i,t-1] + sigma[i] e[i,t]; z is the standardised rank of the very signal that the
    study tests (uniform, sd 1), e is Student t with 5 degrees of freedom. The null twin has premium = 0. Some assets start late,
    some are delisted, and 1 % of the entries are missing. `expected` holds the planted conditional means.
    """
    rng = np.random.default_rng([seed, 7])
    frame = windows(signal, "monthly", topic)
    lookback, skip, premium = frame["lookback"], frame["skip"], 0.0 if null else 0.003
    beta = rng.normal(1.0, 0.25, assets)
    sigma = 0.08 * np.exp(rng.normal(0, 0.3, assets))
    market = rng.normal(0, 0.045, periods)
    shock = rng.standard_t(5, (periods, assets)) / np.sqrt(5 / 3) * sigma
    base = 0.006 + market[:, None] * beta + shock
    returns, expected = np.empty_like(base), np.full_like(base, 0.006)
    for t in range(periods):
        if t >= lookback:
            past = returns[t - lookback : t - skip]
            score = {"reversal": -past.sum(0), "momentum": past.sum(0)}.get(signal)
            score = -past.std(0) if score is None else score
            rank = score.argsort().argsort()
            expected[t] += premium * np.sqrt(12) * ((rank + 0.5) / assets - 0.5)
        returns[t] = np.maximum(base[t] + expected[t] - 0.006, -0.95)
    first = np.where(rng.random(assets) < 0.25, rng.integers(0, periods // 2, assets), 0)
    last = np.where(rng.random(assets) < 0.2, rng.integers(periods // 2, periods, assets), periods)
    t = np.arange(periods)[:, None]
    returns[(t < first) | (t >= last) | (rng.random(returns.shape) < 0.01)] = np.nan
    dates = pd.date_range("1995-01-31", periods=periods, freq="ME", name="date")
    names = [f"A{i:03d}" for i in range(assets)]
    label = "synthetic-null" if null else "synthetic"
    panel = clean_panel(pd.DataFrame(returns, index=dates, columns=names), label)
    return {**panel, "expected": pd.DataFrame(expected, index=dates, columns=names)}


@app.function(hide_code=True)
def load_panel(source: str, folder: str, signal: str, seed: int, topic: str = "") -> dict:
    """The panel named by the parameter `data`."""
    if source in ("synthetic", "synthetic-null"):
        return synthetic_panel(signal, seed, source == "synthetic-null", topic)
    return clean_panel(returns_table(read_table(source, folder)), Path(source).name)


@app.function(hide_code=True)
def resolve(panel: dict, parameters: dict, signal: str, topic: str = "") -> dict:
    """All settings of the study as numbers; checks that the data are long and wide enough for them."""
    usual = windows(signal, panel["frequency"], topic)
    lookback = parameters["lookback"] or usual["lookback"]
    holding = parameters["holding"] or usual["holding"]
    if signal == "low_volatility" and lookback < 3:
        raise ValueError(f"A volatility needs a lookback of at least 3 periods, found {lookback}.")
    dates, assets = panel["returns"].shape
    if assets < parameters["quantiles"]:
        raise ValueError(f"{parameters['quantiles']} quantiles need at least as many assets; found {assets}.")
    if dates < lookback + holding + 24:
        raise ValueError(
            f"The data hold {dates} {panel['frequency']} dates; a lookback of {lookback} and a holding of {holding} need at least {lookback + holding + 24}."
        )
    return {
        "signal": signal,
        "lookback": lookback,
        "skip": min(usual["skip"], lookback - 1),
        "holding": holding,
        "quantiles": parameters["quantiles"],
        "cost_bps": parameters["cost_bps"],
        "seed": parameters["seed"],
    }


@app.function(hide_code=True)
def signal_matrix(returns: "np.ndarray", signal: str, lookback: int, skip: int) -> "np.ndarray":
    """Scores (dates x assets) known at the end of each date; NaN where an asset cannot be ranked."""
    seen = np.isfinite(returns)
    filled = np.where(seen, returns, 0.0)
    values = filled if signal == "low_volatility" else np.log1p(np.maximum(filled, -0.9999))

    def window(x):
        total = np.vstack([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
        out = np.full(x.shape, np.nan)
        out[lookback - 1 :] = total[lookback - skip : len(x) + 1 - skip] - total[: len(x) + 1 - lookback]
        return out

    count = window(seen.astype(float))
    enough = seen & (count >= max(1.0, 2 / 3 * (lookback - skip)))
    if signal == "low_volatility":
        n = np.maximum(np.where(np.isfinite(count), count, 0), 2)
        variance = (window(values**2) - window(values) ** 2 / n) / (n - 1)
        score = -np.sqrt(np.maximum(variance, 0))
        enough &= count >= 3
    else:
        score = window(values) * (-1 if signal == "reversal" else 1)
    # Equal returns must tie exactly: cumulative sums leave differences of about 1e-16 that would break ties at random.
    return np.where(enough, np.round(score, 12), np.nan)


@app.function(hide_code=True)
def buckets(scores: "np.ndarray", quantiles: int) -> "np.ndarray":
    """Quantile of each asset on each date: 0 (lowest score) to quantiles - 1; -1 where it is not ranked."""
    ranked = np.isfinite(scores)
    n = ranked.sum(axis=1, keepdims=True)
    order = np.argsort(np.where(ranked, scores, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(scores.shape[1]), scores.shape), axis=1)
    bucket = np.floor((rank + 0.5) * quantiles / np.maximum(n, 1)).astype(int)
    return np.where(ranked & (n >= max(quantiles, 2)), bucket, -1)


@app.function(hide_code=True)
def portfolio_weights(bucket: "np.ndarray", quantiles: int, holding: int) -> "np.ndarray":
    """Long-short weights at the end of each date: +1 dollar top, -1 dollar bottom, mean of the last `holding` formations."""
    top, bottom = bucket == quantiles - 1, bucket == 0
    formed = top / np.maximum(top.sum(axis=1, keepdims=True), 1) - bottom / np.maximum(bottom.sum(axis=1, keepdims=True), 1)
    if holding == 1:
        return formed
    total = np.cumsum(formed, axis=0)
    total[holding:] = total[holding:] - total[:-holding]
    total[: holding - 1] = 0
    first = np.argmax(top.any(axis=1))
    total[: first + holding - 1] = 0
    return total / holding


@app.function(hide_code=True)
def backtest(returns: "np.ndarray", weights: "np.ndarray", cost_bps: float) -> dict:
    """Per invested period t+1: gross, net (fractions of one leg), value traded, and the row index of the period."""
    filled = np.where(np.isfinite(returns), returns, 0.0)
    gross = (weights[:-1] * filled[1:]).sum(axis=1)
    before = np.vstack([np.zeros((1, weights.shape[1])), weights[:-1] * (1 + filled[1:])])
    traded = np.abs(weights - before).sum(axis=1)[:-1]
    invested = np.abs(weights[:-1]).sum(axis=1) > 1e-9
    net = gross - cost_bps / 1e4 * traded
    return {"gross": gross[invested], "net": net[invested], "traded": traded[invested], "row": np.flatnonzero(invested) + 1}


@app.function(hide_code=True)
def student_t(df: float) -> tuple["np.ndarray", "np.ndarray"]:
    """Grid of t values and their cumulative probabilities: with t = sqrt(df) tan(a) the density is cos(a)^(df-1)."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 40001)[1:-1]
    density = np.exp((df - 1) * np.log(np.cos(angle)))
    total = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.sqrt(df) * np.tan(angle), (total + density[0] / 2) / (total[-1] + density[0])


@app.function(hide_code=True)
def mean_test(x: "np.ndarray", scale: float = 1.0) -> dict:
    """Mean of a series times `scale` with Newey-West standard error, 95 % interval and two-sided p-value."""
    n = len(x)
    lag = int(np.floor(4 * (n / 100) ** (2 / 9)))
    e = x - x.mean()
    variance = e @ e + 2 * sum((1 - j / (lag + 1)) * (e[j:] @ e[:-j]) for j in range(1, lag + 1))
    se = np.sqrt(max(variance, 0.0) / n / n * n / (n - 1))
    df = 1.5 * n / (lag + 1)
    grid, cdf = student_t(df)
    critical = float(np.interp(0.975, cdf, grid))
    t = x.mean() / se if se > 0 else 0.0
    p = float(2 * (1 - np.interp(abs(t), grid, cdf))) if se > 0 else 1.0
    mean, half = x.mean() * scale, critical * se * scale
    return {"mean": mean, "se": se * scale, "t": t, "p": p, "ci_low": mean - half, "ci_high": mean + half, "lag": lag, "df": df, "n": n}


@app.function(hide_code=True)
def information_coefficients(scores: "np.ndarray", returns: "np.ndarray", ahead: int = 1) -> "np.ndarray":
    """Spearman correlation across assets of the score at t and the return of period t + ahead; one value per date, NaN if < 4 assets."""
    later = np.full_like(returns, np.nan)
    later[:-ahead] = returns[ahead:]
    both = np.isfinite(scores) & np.isfinite(later)
    a = pd.DataFrame(np.where(both, scores, np.nan)).rank(axis=1).to_numpy()
    b = pd.DataFrame(np.where(both, later, np.nan)).rank(axis=1).to_numpy()
    n = both.sum(axis=1)
    mid = ((n + 1) / 2)[:, None]
    a, b = np.where(both, a - mid, 0.0), np.where(both, b - mid, 0.0)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where((n >= 4) & (spread > 0), (a * b).sum(axis=1) / np.maximum(spread, 1e-300), np.nan)


@app.function(hide_code=True)
def drawdown(x: "np.ndarray") -> "np.ndarray":
    """Loss from the highest value so far of one dollar that earns the returns x; zero or negative."""
    wealth = np.concatenate([[1.0], np.cumprod(1 + x)])
    return (wealth / np.maximum.accumulate(wealth) - 1)[1:]


@app.function(hide_code=True)
def placebo_means(scores: "np.ndarray", returns: "np.ndarray", plan: dict, draws: int = 99) -> "np.ndarray":
    """Mean gross return per period of portfolios whose scores are random but which hold the same number of ranked assets."""
    rng = np.random.default_rng([plan["seed"], 11])
    ranked, means = np.isfinite(scores), np.empty(draws)
    for i in range(draws):
        shuffled = np.where(ranked, rng.random(scores.shape), np.nan)
        weights = portfolio_weights(buckets(shuffled, plan["quantiles"]), plan["quantiles"], plan["holding"])
        means[i] = backtest(returns, weights, 0.0)["gross"].mean()
    return means


@app.function(hide_code=True)
def quantile_returns(returns: "np.ndarray", bucket: "np.ndarray", quantiles: int) -> "np.ndarray":
    """Next-period equal-weight return of each quantile (dates - 1 x quantiles), NaN where a quantile is empty."""
    later = returns[1:]
    out = np.full((len(later), quantiles), np.nan)
    for q in range(quantiles):
        member = (bucket[:-1] == q) & np.isfinite(later)
        n = member.sum(axis=1)
        out[:, q] = np.where(n > 0, np.where(member, later, 0.0).sum(axis=1) / np.maximum(n, 1), np.nan)
    return out


@app.function(hide_code=True)
def run_backtest(panel: dict, plan: dict, **changes) -> dict:
    """One backtest of the plan, with settings changed for a robustness check (lookback, holding, quantiles, skip, extra_lag)."""
    plan = {**plan, **changes}
    returns = panel["returns"].to_numpy()
    scores = signal_matrix(returns, plan["signal"], plan["lookback"], min(plan["skip"], plan["lookback"] - 1))
    if plan.get("extra_lag"):
        scores = np.vstack([np.full((plan["extra_lag"], scores.shape[1]), np.nan), scores[: -plan["extra_lag"]]])
    bucket = buckets(scores, plan["quantiles"])
    weights = portfolio_weights(bucket, plan["quantiles"], plan["holding"])
    return {"scores": scores, "bucket": bucket, "weights": weights, **backtest(returns, weights, plan["cost_bps"])}


@app.function(hide_code=True)
def planted_mean(panel: dict, run: dict) -> float:
    """Mean planted expected return per period of the portfolio: what the gross mean estimates, without the noise."""
    expected = np.where(panel["returns"].notna(), panel["expected"], 0.0)
    earned = (run["weights"][:-1] * expected[1:]).sum(axis=1)
    return float(earned[run["row"] - 1].mean())


@app.function(hide_code=True)
def analyse(data: dict, parameters: dict) -> dict:
    """The verdict's figures. `data` is a panel from `load_panel`; `parameters` is a plan from `resolve`."""
    panel, plan, year = data, parameters, data["per_year"]
    run = run_backtest(panel, plan)
    if len(run["gross"]) < 24:
        raise ValueError(f"Only {len(run['gross'])} periods have enough ranked assets for {plan['quantiles']} quantiles; at least 24 are needed.")
    returns = panel["returns"].to_numpy()
    gross, net = mean_test(run["gross"], 100 * year), mean_test(run["net"], 100 * year)
    ic = information_coefficients(run["scores"], returns)[:-1]
    ic = ic[np.isfinite(ic)]
    ic_test = mean_test(ic) if len(ic) > 12 else {"mean": None, "t": None}
    placebo = placebo_means(run["scores"], returns, plan)
    placebo_p = float((1 + np.sum(placebo >= run["gross"].mean())) / (1 + len(placebo)))
    supported = bool(gross["ci_low"] > 0 and placebo_p <= 0.05)
    traded = float(run["traded"].mean())
    even = 1e4 * float(run["gross"].mean()) / traded if traded > 0 else None
    name = words_for(plan["signal"])["name"]
    synthetic = panel["label"] in ("synthetic", "synthetic-null")
    spread = [float(s) * np.sqrt(year) for s in (run["gross"].std(ddof=1), run["net"].std(ddof=1))]
    cost_word = "still earns" if net["mean"] > 0 else "loses"
    summary = (
        f"The {name} portfolio earned {gross['mean']:.2f} % per year before costs (95 % interval {gross['ci_low']:.2f} to {gross['ci_high']:.2f} %, "
        f"{p_text(gross['p'])}, {gross['n']} {panel['frequency']} periods of {'synthetic' if synthetic else 'the given'} data): the claim is "
        f"{'supported' if supported else 'not supported'}. At {plan['cost_bps']:g} basis points per dollar traded it {cost_word} {abs(net['mean']):.2f} % per year "
        f"({net['ci_low']:.2f} to {net['ci_high']:.2f} %)"
        + (f"; the break-even cost is {even:.1f} basis points." if even is not None and even > 0 else "; no positive cost breaks even.")
    )
    ends = int((panel["returns"].apply(lambda c: c.last_valid_index()) < panel["returns"].index[-1]).sum())
    limits = [
        "The data are simulated with a known effect; they say that the method works, nothing about markets."
        if synthetic
        else "The result describes this sample; assets that are missing from the file (delisted ones, for instance) can bias it.",
        f"{ends} of {panel['returns'].shape[1]} assets end before the last date; a return missing while held counts as zero, so no delisting loss is included.",
        "Costs are a flat rate; borrowing fees, price impact and limits on short sales are not modelled.",
        "One signal definition was pre-stated; the lookback × holding map shows others, and none of its cells was used for the verdict.",
    ]
    return {
        "claim": words_for(plan["signal"])["claim"] + ".",
        "supported": supported,
        "estimate": gross["mean"],
        "ci_low": gross["ci_low"],
        "ci_high": gross["ci_high"],
        "p_value": gross["p"],
        "n_obs": gross["n"],
        "unit": "% per year, gross, long-short",
        "summary": summary,
        "limits": limits,
        "data": panel["label"],
        "seed": plan["seed"],
        "signal": plan["signal"],
        "lookback": plan["lookback"],
        "holding": plan["holding"],
        "quantiles": plan["quantiles"],
        "t_stat": gross["t"],
        "newey_west_lag": gross["lag"],
        "net_estimate": net["mean"],
        "net_ci_low": net["ci_low"],
        "net_ci_high": net["ci_high"],
        "net_positive": bool(net["ci_low"] > 0),
        "cost_bps": plan["cost_bps"],
        "break_even_bps": even,
        "sharpe_gross": gross["mean"] / 100 / spread[0] if spread[0] > 0 else None,
        "sharpe_net": net["mean"] / 100 / spread[1] if spread[1] > 0 else None,
        "ic_mean": ic_test["mean"],
        "ic_t": ic_test["t"],
        "turnover": traded / 4,
        "max_drawdown": float(drawdown(run["net"]).min()),
        "placebo_p": placebo_p,
        "planted": 100 * year * planted_mean(panel, run) if panel["expected"] is not None else None,
    }


@app.function(hide_code=True)
@functools.cache
def planted_truth(null: bool) -> float:
    """The effect that the default study of synthetic data estimates, in % per year.

    It is the mean planted expected return of the portfolio over eight panels with seeds that no study uses. Planted means carry no
    return noise, so the average is exact to about 0.05 % per year.
    """
    parameters = {"lookback": 0, "holding": 0, "quantiles": 5, "cost_bps": 10.0, "seed": 0}
    panels = [synthetic_panel("reversal", 10**6 + s, null) for s in range(8)]
    return float(np.mean([1200 * planted_mean(p, run_backtest(p, resolve(p, parameters, "reversal"))) for p in panels]))


@app.function(hide_code=True)
def science(seed: int, null: bool) -> dict:
    """One replication of the default study (short-term reversal) on synthetic data, for `make science`."""
    panel = synthetic_panel("reversal", seed, null)
    parameters = {"lookback": 0, "holding": 0, "quantiles": 5, "cost_bps": 10.0, "seed": seed}
    found = analyse(panel, resolve(panel, parameters, "reversal"))
    return {k: found[k] for k in ("supported", "estimate", "ci_low", "ci_high")} | {"truth": planted_truth(null)}


@app.function(hide_code=True)
def thin(frame: "pd.DataFrame", rows: int = 1200) -> "pd.DataFrame":
    """At most about `rows` rows, evenly spaced, the last one included: enough for a line of 620 pixels."""
    step = max(1, len(frame) // rows)
    return frame if step == 1 else frame.iloc[sorted({*range(0, len(frame), step), len(frame) - 1})]


@app.cell
def test_dollar_neutral():
    _panel = synthetic_panel("momentum", 1, False, periods=120, assets=30)
    _plan = resolve(_panel, {"lookback": 0, "holding": 3, "quantiles": 5, "cost_bps": 10.0, "seed": 0}, "momentum")
    _run = run_backtest(_panel, _plan)
    _weights = _run["weights"][_run["row"] - 1]
    assert np.allclose(_weights.sum(axis=1), 0)
    assert np.allclose(np.abs(_weights).sum(axis=1)[5:], 2, atol=0.7)
    return


@app.cell
def test_no_look_ahead():
    _panel = synthetic_panel("reversal", 2, False, periods=120, assets=30)
    _plan = resolve(_panel, {"lookback": 2, "holding": 2, "quantiles": 5, "cost_bps": 10.0, "seed": 0}, "reversal")
    _before = run_backtest(_panel, _plan)
    _changed = {**_panel, "returns": _panel["returns"].copy()}
    _changed["returns"].iloc[80:] = np.random.default_rng(0).normal(0, 0.1, _changed["returns"].iloc[80:].shape)
    _after = run_backtest(_changed, _plan)
    assert np.array_equal(_before["weights"][:80], _after["weights"][:80])
    assert not np.array_equal(_before["weights"][80:], _after["weights"][80:])
    return


@app.cell
def test_costs_reduce_the_return():
    _panel = synthetic_panel("reversal", 3, False, periods=120, assets=30)
    _net = []
    for _cost in (0.0, 10.0, 50.0):
        _plan = resolve(_panel, {"lookback": 1, "holding": 1, "quantiles": 5, "cost_bps": _cost, "seed": 0}, "reversal")
        _net.append(run_backtest(_panel, _plan)["net"].mean())
    assert _net[0] > _net[1] > _net[2]
    return


@app.cell
def test_known_answer():
    _returns = np.tile([[0.01, 0.0, -0.01, -0.02]], (30, 1))
    _scores = signal_matrix(_returns, "momentum", 2, 0)
    _weights = portfolio_weights(buckets(_scores, 4), 4, 1)
    assert np.allclose(backtest(_returns, _weights, 0.0)["gross"], 0.03)
    return


if __name__ == "__main__":
    app.run()
