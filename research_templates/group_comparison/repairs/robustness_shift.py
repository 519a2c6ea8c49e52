# The deciles could not be compared: keep the rank test, which needs no deciles.
mo.md(
    f"The deciles of these groups cannot be compared. By ranks alone (Mann-Whitney) the rank-biserial correlation is {number(results['rank_biserial'])}, "
    + f"{p_text(results['mann_whitney_p'])} ({safe(label)}, {safe(settings['outcome'])})."
)
