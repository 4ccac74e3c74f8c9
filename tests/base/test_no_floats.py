"""Law 1: no float touches money or bytes, proven on the syntax tree."""

import ast
from pathlib import Path

import pytest

import flowcost

ROOT = Path(flowcost.__file__).parent
MONEY_ROOMS = ("money.py", "model.py", "schema.py", "classify", "price", "ledger", "pipeline")
FILES = sorted(
    file
    for room in MONEY_ROOMS
    for file in ([ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"))
)


def float_uses(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"line {node.lineno}: the literal {node.value}")
        if isinstance(node, ast.Name) and node.id == "float":
            found.append(f"line {node.lineno}: the name float")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            upper = node.value.upper()
            if "DOUBLE" in upper.split() or "AVG(" in upper or "::FLOAT" in upper:
                found.append(f"line {node.lineno}: a float in SQL")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left = node.left
            if not _is_exact_division(left, node.right):
                found.append(f"line {node.lineno}: true division")
    return found


def _is_exact_division(left: ast.expr, right: ast.expr) -> bool:
    """Paths join with a slash; Decimal and Fraction divide exactly as far as asked."""
    text = ast.unparse(left) + ast.unparse(right)
    pathlike = any(
        word in text.lower() for word in ("path", "folder", "root", "base", "rates", "'")
    )
    return pathlike or "Decimal(" in text or "Fraction(" in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_float_in_a_room_that_bears_money(file):
    assert float_uses(ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    "code", ["x = 0.1", "x = float(y)", "x = a / b", 'q = "SELECT AVG(bytes)"', "x: float = 1"]
)
def test_the_walk_finds_a_float(code):
    assert float_uses(ast.parse(code))
