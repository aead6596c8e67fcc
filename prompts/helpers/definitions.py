import ast
from pathlib import Path


def definitions(path):
    """The names of a Python file's top-level functions, and its classes, each with the names of its methods."""
    body, kinds = ast.parse(Path(path).read_text(encoding="utf-8")).body, (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node.name for node in body if isinstance(node, kinds)]
    classes = {c.name: [m.name for m in c.body if isinstance(m, kinds)] for c in body if isinstance(c, ast.ClassDef)}
    return functions, classes
