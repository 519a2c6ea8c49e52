# Other splits could not be computed: say so; the main split does not depend on them.
mo.md(f"## Robustness\n\nOther random splits could not be computed for {safe(label)}. The result above rests on the one split fixed by the seed.")
