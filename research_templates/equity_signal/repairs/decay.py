mo.md(
    "### Decay\n\n"
    f"With {panel['returns'].shape[1]} assets and {len(panel['returns'])} dates the rank correlations at longer distances cannot be "
    "estimated, so there is no decay curve."
)
