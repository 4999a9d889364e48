"""`python -m benchmarks.structure [CHECKOUT]`: how large files and functions are, and how many imports cross rooms.

A room is a folder of the package; a module directly in a layer is a room of its own. Reads source, runs none of it.
"""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = Path("operator") / "model_provisioner"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def main(arguments: Sequence[str]) -> int:
    root = Path(arguments[0] if arguments else ".") / PACKAGE
    trees = {path.relative_to(root): ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}
    lines = {path: len((root / path).read_text().splitlines()) for path in trees}
    functions = [size for tree in trees.values() for size in _function_sizes(tree)]
    print(f"files      {_summary([size for size in lines.values() if size > 1])}")
    print(f"functions  {_summary(functions)}")
    imports = Counter(pair for path, tree in trees.items() for pair in _crossings(path, tree, trees))
    for layer in sorted({path.parts[0] for path in trees if len(path.parts) > 1}):
        inside = {pair for pair in imports if pair[0].split("/")[0] == layer == pair[1].split("/")[0]}
        rooms = {_room(path) for path in trees if path.parts[0] == layer and path.name != "__init__.py"}
        print(f"{layer:16} {len(rooms):3} rooms, {len(inside):3} pairs of rooms with imports between them")
    return 0


def _summary(sizes: Sequence[int]) -> str:
    tenths = statistics.quantiles(sizes, n=10)
    return f"{len(sizes):5}, lines: median {statistics.median(sizes):.0f}, p90 {tenths[8]:.0f}, max {max(sizes)}"


def _function_sizes(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def _room(path: Path) -> str:
    """`controller/stores` for a file of a room, `controller/app` for a module directly in its layer."""
    return "/".join(path.with_suffix("").parts[:2])


def _crossings(path: Path, tree: ast.Module, trees: dict[Path, ast.Module]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("model_provisioner")):
            continue
        base = Path(*(node.module or "").split(".")[1:])
        for alias in node.names:
            module, file = base / f"{alias.name}.py", base.parent / f"{base.name}.py"
            target = module if module in trees else file
            if target in trees and _room(target) != _room(path):
                yield _room(path), _room(target)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
