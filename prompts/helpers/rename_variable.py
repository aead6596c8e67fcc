import ast
import io
import re
import tokenize


def rename_variable(source, old, new):
    """The Python source with a variable renamed; comments, texts, attributes and longer names stay."""
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    places = {b.start for a, b in zip(tokens, tokens[1:]) if b.type == tokenize.NAME and a.string != "."}
    if tokens and tokens[0].type == tokenize.NAME:
        places.add(tokens[0].start)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id == old:  # in an f-string as well
            places.add((node.lineno, len(lines[node.lineno - 1].encode()[: node.col_offset].decode())))
    for row, column in sorted(places, reverse=True):
        line = lines[row - 1]
        if re.match(rf"{old}\b", line[column:]):
            lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "".join(lines)
