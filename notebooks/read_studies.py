# /// script
# requires-python = ">=3.11"
# dependencies = ["marimo", "pandas", "altair"]
# ///
"""Compare the studies of a research folder: what was claimed, what came out, how certain it is.

    marimo edit notebooks/read_studies.py -- --folder demo/research
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Studies of a research folder")

with app.setup:
    import json
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import pandas as pd


@app.cell(hide_code=True)
def title():
    mo.md("""
    # What did the studies find?

    Every research project that Postdoc makes has a `results.json` with its verdict: the claim, the estimate with its 95 %
    interval, and whether the claim is supported. This notebook collects the verdicts of one folder.
    """)
    return


@app.cell
def controls():
    folder = mo.ui.text(value=str(mo.cli_args().get("folder") or "research"), label="Research folder", full_width=True)
    folder
    return (folder,)


@app.function
def verdicts(folder: Path) -> pd.DataFrame:
    """One row a study, in the order of their names; columns study, claim, supported, estimate, ci_low, ci_high, unit, data."""
    rows = []
    for path in sorted(folder.glob("*/results.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        keys = ("claim", "supported", "estimate", "ci_low", "ci_high", "p_value", "n_obs", "unit", "data")
        rows.append({"study": path.parent.name, **{key: found.get(key) for key in keys}})
    return pd.DataFrame(rows)


@app.cell
def table(folder):
    studies = verdicts(Path(folder.value).expanduser())
    mo.stop(
        studies.empty,
        mo.md(f"No finished study in `{folder.value}` yet. Make one: `jupyter postdoc research \"Short Term Reversal\"`."),
    )
    supported = int(studies["supported"].sum())
    mo.vstack(
        [
            mo.md(f"**{supported} of {len(studies)}** claims are supported by their data."),
            studies[["study", "claim", "supported", "estimate", "ci_low", "ci_high", "unit"]],
        ]
    )
    return (studies,)


@app.cell
def intervals(studies):
    # Estimates have different units: each is shown in units of its own half interval, so that zero is the only common line.
    scale = ((studies["ci_high"] - studies["ci_low"]) / 2).replace(0, float("nan"))
    scaled = studies.assign(
        centre=studies["estimate"] / scale, low=studies["ci_low"] / scale, high=studies["ci_high"] / scale
    ).dropna(subset=["centre"])
    base = alt.Chart(scaled).encode(y=alt.Y("study:N", title=None))
    chart = (
        alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
        + base.mark_rule(strokeWidth=3).encode(
            x=alt.X("low:Q", title="estimate and 95 % interval, in half interval widths"), x2="high:Q"
        )
        + base.mark_point(filled=True, size=80).encode(
            x="centre:Q", color=alt.Color("supported:N", title="supported"), tooltip=["study", "claim", "estimate", "unit"]
        )
    ).properties(title="Distance from zero, in units of uncertainty", width="container")
    chart
    return


@app.function
def test_verdicts_reads_every_study(tmp_path):
    for name, estimate in (("b", 2.0), ("a", 1.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps({"estimate": estimate, "supported": True}))
    (tmp_path / "half-done").mkdir()
    assert list(verdicts(tmp_path)["study"]) == ["a", "b"]
    assert list(verdicts(tmp_path)["estimate"]) == [1.0, 2.0]


if __name__ == "__main__":
    app.run()
