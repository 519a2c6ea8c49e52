_half = len(base["gross"]) // 2
_parts = [100 * panel["per_year"] * _part.mean() for _part in (base["gross"][:_half], base["gross"][_half:])]
mo.md(
    "### Subperiods and other choices\n\n"
    f"The sample is too short for the full set of variations. The mean gross return is {_parts[0]:.2f} % per year in the first half "
    f"and {_parts[1]:.2f} % in the second."
)
