"""Do the templates' intervals hold? Each template on many synthetic data sets, with the effect and without it.

    python bench/science.py --seeds 200 [--template NAME] [--markdown docs/science.md]

A template takes part when its notebook has a function `science(seed, null)` that returns `supported`, `estimate`,
`ci_low`, `ci_high` and `truth`. Exit code 1 when a null twin is called supported in more than 5 % of the seeds or the
intervals cover the known effect in less than 93 % or more than 97 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent / "research_templates"
PROCESSES = 2
MAX_FALSE_POSITIVE = 0.05
COVERAGE = (0.93, 0.97)


@dataclass(frozen=True)
class Trial:
    """One study of one synthetic data set."""

    supported: bool
    estimate: float
    ci_low: float
    ci_high: float
    truth: float

    @property
    def covers(self) -> bool:
        return self.ci_low <= self.truth <= self.ci_high


@dataclass(frozen=True)
class Row:
    """The table's line for one template; shares lie between 0 and 1, the bias is in the template's own unit."""

    template: str
    seeds: int
    false_positive: float
    coverage: float
    null_coverage: float
    power: float
    truth: float
    bias: float
    bias_error: float
    seconds: float

    @property
    def passes(self) -> bool:
        return self.false_positive <= MAX_FALSE_POSITIVE and COVERAGE[0] <= self.coverage <= COVERAGE[1]


@lru_cache
def notebook(path: Path) -> ModuleType:
    """The notebook's functions as a module; importing a marimo file runs its setup and no cell."""
    spec = importlib.util.spec_from_file_location(f"science_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trial(path: Path, seed: int, null: bool) -> Trial:
    found = notebook(path).science(seed, null)
    return Trial(bool(found["supported"]), *(float(found[k]) for k in ("estimate", "ci_low", "ci_high", "truth")))


def templates(name: str | None) -> Iterator[Path]:
    """Notebooks that define `science`, found by text so that nothing is executed to look."""
    for path in sorted(ROOT.glob("*/notebook.py")):
        if name in (None, path.parent.name) and "\ndef science(" in path.read_text(encoding="utf-8"):
            yield path


def measure(path: Path, seeds: int, pool: ProcessPoolExecutor) -> Row:
    start = time.monotonic()
    chunk = max(1, seeds // (4 * PROCESSES))

    def trials(null: bool) -> list[Trial]:
        return list(pool.map(trial, [path] * seeds, range(seeds), [null] * seeds, chunksize=chunk))

    effect, nothing = trials(False), trials(True)
    errors = [t.estimate - t.truth for t in effect]
    bias = sum(errors) / seeds
    spread = math.sqrt(sum((e - bias) ** 2 for e in errors) / max(1, seeds - 1))
    return Row(
        template=path.parent.name,
        seeds=seeds,
        false_positive=sum(t.supported for t in nothing) / seeds,
        coverage=sum(t.covers for t in effect) / seeds,
        null_coverage=sum(t.covers for t in nothing) / seeds,
        power=sum(t.supported for t in effect) / seeds,
        truth=effect[0].truth,
        bias=bias,
        bias_error=spread / math.sqrt(seeds),
        seconds=time.monotonic() - start,
    )


HEAD = (
    "Template",
    "Seeds",
    "Null called supported",
    "Coverage, known effect",
    "Coverage, null",
    "Power",
    "Known effect",
    "Mean bias (± s.e.)",
)


def table(rows: list[Row]) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    for r in rows:
        cells = (
            r.template,
            str(r.seeds),
            f"{100 * r.false_positive:.1f} %",
            f"{100 * r.coverage:.1f} %",
            f"{100 * r.null_coverage:.1f} %",
            f"{100 * r.power:.1f} %",
            f"{r.truth:.4g}",
            f"{r.bias:+.2g} ± {r.bias_error:.2g}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(rows: list[Row]) -> str:
    seeds = rows[0].seeds
    error = 100 * math.sqrt(0.95 * 0.05 / seeds)
    return (
        "# Do the templates' statements hold?\n\n"
        f"Each research template was run on {seeds} synthetic data sets with a known effect and on {seeds} null twins\n"
        "without one, with its default parameters and seeds 0, 1, 2, … A sound template calls a null twin\n"
        "“supported” in at most 5 % of the cases, and its 95 % intervals contain the known effect in about 95 %\n"
        f"of them (with this many seeds the share itself is uncertain by ± {error:.1f} percentage points, one\n"
        "standard error). The bias is in the unit of the template's estimate.\n\n"
        + table(rows)
        + "\nMade by `make science` (`python bench/science.py`).\n"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="False positives, coverage and power of the research templates.")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--template", help="only this template")
    parser.add_argument("--markdown", type=Path, help="also write the table as a page")
    args = parser.parse_args(argv)
    if args.seeds < 1:
        parser.error("--seeds must be at least 1.")
    paths = list(templates(args.template))
    if not paths:
        parser.error(f"no template {args.template or ''} with a science function found below research_templates.")
    # Two workers share the cores already; threads of the linear algebra library would only get in their way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    rows = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        for path in paths:
            row = measure(path, args.seeds, pool)
            print(f"{row.template}: {row.seconds:.0f} s", file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows), end="")
    if args.markdown:
        args.markdown.parent.mkdir(parents=True, exist_ok=True)
        args.markdown.write_text(page(rows), encoding="utf-8")
    return 0 if all(r.passes for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
