"""All ways in which one condition of a source is written otherwise."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TURNED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OF_SQL: Final = {"where", "filter", "and_", "or_", "values", "order_by"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one place written otherwise, which is on these lines; all other lines stay where they are."""

    line: int
    last_line: int
    was: str
    now: str
    source: str

    def __str__(self) -> str:
        return f"{self.line}: {self.was}  ->  {self.now}"


def mutants_of(source: str) -> Iterator[Mutant]:
    """Give all mutants of a source, in the order of its text; a place that only types read has none."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    text = source.encode()
    for node in _code(ast.parse(source)):
        for place, now in _changes(node):
            last = place.end_lineno or place.lineno
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[last - 1] + (place.end_col_offset or 0)
            was = text[start:end].decode()
            written = _of_lines(now, last - place.lineno)
            mutated = (text[:start] + written.encode() + text[end:]).decode()
            yield Mutant(place.lineno, last, " ".join(was.split()), now, mutated)


def _of_lines(now: str, breaks: int) -> str:
    """Give a text as many line breaks as what it replaces has: inside its last parenthesis, or behind a statement."""
    return f"{now[:-1]}{'\n' * breaks})" if now.endswith(")") else now + "\n" * breaks


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _code(node)


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Give the places below one node that are written otherwise, and how."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            yield test, "(True)"
            yield test, "(False)"
        case ast.While(test=test):
            yield test, "(False)"
        case ast.comprehension(ifs=ifs):
            yield from ((each, "(True)") for each in ifs)
        case ast.match_case(guard=ast.expr() as guard):
            yield guard, "(True)"
        case ast.Compare():
            yield from ((node, now) for now in _with_each_turned(node))
        case ast.BoolOp(op=kind, values=values):
            sign = " and " if isinstance(kind, ast.And) else " or "
            for index in range(len(values)):
                rest = sign.join(f"({ast.unparse(each)})" for each in values[:index] + values[index + 1 :])
                yield node, f"({rest})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right) if not _is_text(left) and not _is_text(right):
            sign = "-" if isinstance(node.op, ast.Add) else "+"
            yield node, f"({ast.unparse(left)} {sign} ({ast.unparse(right)}))"
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in _OF_SQL:
            yield from ((node, now) for now in _without_each(node))
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield node, "pass"
        case _:
            return


def _with_each_turned(compared: ast.Compare) -> Iterator[str]:
    """Write a comparison, or a chain of them, with each of its signs turned round or moved by one, one at a time."""
    for index, kind in enumerate(compared.ops):
        for sign in _TURNED[type(kind)]:
            signs = [*compared.ops[:index], sign(), *compared.ops[index + 1 :]]
            yield f"({ast.unparse(ast.Compare(compared.left, signs, compared.comparators))})"


def _without_each(call: ast.Call) -> Iterator[str]:
    """Write a call of SQL without each of its arguments, one at a time."""
    called = ast.unparse(call.func)
    arguments = [ast.unparse(each) for each in (*call.args, *call.keywords)]
    for index in range(len(arguments)):
        rest = ", ".join(arguments[:index] + arguments[index + 1 :])
        if rest or call.func.__class__ is ast.Attribute:
            yield f"{called}({rest})"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
