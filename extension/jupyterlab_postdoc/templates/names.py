"""Which names a cell defines for other cells, and which it reads.

As in `source.py`, `ast` alone has to do: marimo's compiler would take a second to import. The tests compare the two.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)


@dataclass(frozen=True)
class Names:
    """``defines`` has no name with a leading underscore: these belong to their cell. ``reads`` has builtins, too."""

    defines: frozenset[str]
    reads: frozenset[str]


@lru_cache(1024)
def names(code: str) -> Names:
    """The names of a cell's body. Raises SyntaxError or ValueError when it is not Python."""
    tree = ast.parse(code)
    bound, read = _scope([tree])
    gone = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}  # unbound at the handler's end
    defines = frozenset(name for name in bound - gone if not name.startswith("_"))
    return Names(defines, frozenset(read - bound))


def _scope(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """The names that these nodes bind, and those that they read, also from the scopes within them."""
    bound: set[str] = set()
    read: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, _SCOPES):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                bound.add(node.name)
            inside, free = _scope(ast.iter_child_nodes(node))
            read |= free - inside
            todo += _outside(node)
        else:
            # A parameter, `except … as name`, `case … as name`, `case {**rest}`.
            name = getattr(node, "arg", None) if isinstance(node, ast.arg) else getattr(node, "name", None)
            bound |= {found for found in (name, getattr(node, "rest", None)) if isinstance(found, str)}
            todo += ast.iter_child_nodes(node)
    return bound, read


def _outside(node: ast.AST) -> list[ast.expr]:
    """What a scope evaluates in the one around it, where its own names do not hide others: `def f(x=x)`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
    if isinstance(node, _COMPREHENSIONS):
        return [node.generators[0].iter]
    return []
