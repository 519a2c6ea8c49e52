# The densities could not be drawn: show every observation as a dot, and nothing that needs an estimate.
_points = pd.DataFrame({"level": np.repeat(groups["levels"], [len(groups["x"]), len(groups["y"])]), "value": np.concatenate([groups["x"], groups["y"]])})
_chart = (
    alt.Chart(_points.iloc[:: max(1, len(_points) // 1000)])
    .mark_tick()
    .encode(alt.X("value:Q", title=settings["outcome"], scale=alt.Scale(zero=False)), alt.Y("level:N", title=None))
    .properties(width=620, height=120, title=f"Observations of {settings['outcome']} in each group ({label})")
)
mo.vstack([_chart, mo.md(f"Each line is one observation; medians {number(np.median(groups['x']))} and {number(np.median(groups['y']))}.")])
