# The histograms could not be drawn: give the quartiles of each numeric column instead.
_rows = [
    {"column": _c["name"], **{f"{_q} %": f"{np.nanquantile(_c['values'], _q / 100):.6g}" for _q in (0, 25, 50, 75, 100)}}
    for _c in columns
    if _c["kind"] == "number" and np.isfinite(_c["values"]).any()
]
mo.vstack([mo.md("## Distributions"), html_table(_rows, f"Quantiles of the numeric columns ({label})", 520) if _rows else mo.md("No numeric column.")])
