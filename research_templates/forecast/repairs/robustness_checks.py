_half = len(difference) // 2
mo.md(
    "## Robustness\n\n### Other choices\n\n"
    f"There are too few scored origins ({len(difference)}) for the full set of variations. The mean difference is "
    f"{difference[:_half].mean():.3g} in the first half of the origins and {difference[_half:].mean():.3g} in the second."
)
