"""No import runs in a circle, and no product code asks which app is there or whether it is being tested."""

import ast
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGES = {"keyseat_shared": "shared", "keyseat_verifier": "verifier", "keyseat_issuer": "issuer"}

FOR_TYPES = {("keyseat_verifier.verify.report", "keyseat_verifier.verify.verifier")}
"""Arrows that only a type checker follows, and that close a circle: each says in its module why."""


def arrows(package: str, *, with_types: bool = True) -> set[tuple[str, str]]:
    """Return who imports whom, late imports included."""
    graph = grimp.build_graph(package, cache_dir=None, exclude_type_checking_imports=not with_types)
    return {(name, found) for name in graph.modules for found in graph.find_modules_directly_imported_by(name)}


def in_circles(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows that are left when all who import nobody, or whom nobody imports, are taken away."""
    while True:
        importers, imported = {one for one, _ in pairs}, {other for _, other in pairs}
        left = {(one, other) for one, other in pairs if one in imported and other in importers}
        if left == pairs:
            return left
        pairs = left


def test_a_circle_is_seen() -> None:
    assert {("b", "c"), ("c", "b")} == in_circles({("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")})


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert set() == in_circles(arrows(package) - FOR_TYPES)


def test_what_is_for_types_is_not_imported_by_a_program() -> None:
    found = arrows("keyseat_verifier")

    assert found >= FOR_TYPES
    assert set() == FOR_TYPES & arrows("keyseat_verifier", with_types=False)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_product_code_asks_what_is_installed_or_whether_tests_run(package: str) -> None:
    questions = {"is_installed", "PYTEST_CURRENT_TEST", "pytest"}
    asked = []
    for path in sorted((REPOSITORY / PACKAGES[package] / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = {getattr(node, "attr", None), getattr(node, "id", None)}
            words |= {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
            if words & questions:
                asked.append((path.name, node.lineno))
    assert [] == asked
