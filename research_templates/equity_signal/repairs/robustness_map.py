mo.md(
    "## Robustness\n\n### Lookback × holding\n\n"
    f"The sample ({len(panel['returns'])} {panel['frequency']} dates) is too short to compare other lookbacks and holding times with "
    f"the pre-stated ones ({plan['lookback']} and {plan['holding']} periods), so there is no map."
)
