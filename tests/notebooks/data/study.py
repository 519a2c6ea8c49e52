# /// script
# requires-python = ">=3.11"
# dependencies = ["marimo", "numpy", "pandas", "altair", "matplotlib"]
# ///
import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Does the treatment help?")

with app.setup:
    import altair as alt
    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd


@app.cell
def study():
    study = {"topic": "Does the treatment help?", "parameters": {"n": 400, "effect": 0.4}, "seed": 7}
    return (study,)


@app.cell(hide_code=True)
def title(study):
    mo.md(rf"""
    # {study["topic"]}

    *Synthetic data with a known effect.* We compare two groups: a **treated** one and a control group, and ask whether
    the difference of their means, $\mu_1 - \mu_0$, is larger than chance alone would make it.

    What would falsify it: an interval that contains zero.

    - method: Welch's $t$ test
    - reference: Welch (1947), *Biometrika* 34
    """)
    return


@app.cell
def controls(study):
    _start = int(mo.cli_args().get("n") or study["parameters"]["n"])
    n = mo.ui.slider(50, 1000, value=_start, label="Observations per group")
    n
    return (n,)


@app.function
def make_data(n, effect, seed):
    """Two groups of ``n`` normal outcomes, the second shifted by ``effect`` standard deviations."""
    rng = np.random.default_rng(seed)
    control, treated = rng.normal(0, 1, n), rng.normal(effect, 1, n)
    return pd.DataFrame({"group": ["control"] * n + ["treated"] * n, "outcome": np.concatenate([control, treated])})


@app.cell
def load(n, study):
    data = make_data(n.value, study["parameters"]["effect"], study["seed"])
    data.groupby("group")["outcome"].describe().round(2)
    return (data,)


@app.cell
def histogram(data):
    alt.Chart(data, title="Outcome by group (standard deviations)").mark_bar(opacity=0.6).encode(
        x=alt.X("outcome:Q", bin=alt.Bin(maxbins=30), title="Outcome (standard deviations)"),
        y=alt.Y("count()", stack=None, title="Observations"),
        color=alt.Color("group:N", title="Group"),
    ).properties(width=560, height=260)
    return


@app.function
def analyse(data):
    """Difference of means with Welch's standard error."""
    a, b = (data.loc[data["group"] == g, "outcome"] for g in ("control", "treated"))
    difference = float(b.mean() - a.mean())
    error = float(np.sqrt(a.var() / len(a) + b.var() / len(b)))
    low, high = difference - 1.96 * error, difference + 1.96 * error
    return {"estimate": difference, "ci_low": low, "ci_high": high, "n_obs": len(data)}


@app.cell
def result(data):
    figures = analyse(data)
    mo.md(f"""
    ## Result

    The treated group is higher by **{figures["estimate"]:.2f}** standard deviations
    (95 % interval {figures["ci_low"]:.2f} to {figures["ci_high"]:.2f}, n = {figures["n_obs"]}).
    """)
    return (figures,)


@app.cell
def figure(data):
    _figure, _axis = plt.subplots(figsize=(6, 3.2))
    _axis.boxplot([g["outcome"] for _, g in data.groupby("group")], orientation="horizontal")
    _axis.set_yticks([1, 2], ["control", "treated"])
    _axis.set_xlabel("Outcome (standard deviations)")
    _axis.set_title("Outcome by group")
    _figure
    return


@app.cell
def test_no_effect():
    assert abs(analyse(make_data(5000, 0.0, 1))["estimate"]) < 0.1
    return


@app.cell
def verdict(figures):
    {
        "claim": "The treatment raises the outcome.",
        "supported": figures["ci_low"] > 0,
        **figures,
        "unit": "standard deviations",
        "summary": f"The difference is {figures['estimate']:.2f} standard deviations.",
        "limits": ["Synthetic data."],
    }
    return


if __name__ == "__main__":
    app.run()
