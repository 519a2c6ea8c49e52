mo.md(
    "### Prediction intervals\n\n"
    f"The coverage at each step ahead cannot be charted from {len(difference)} scored origins; the verdict gives it at the horizon."
)
