import re


def set_value(lines, path, value):
    """Change one value in the lines of an INI, YAML, TOML or .env file; all else stays, comments too.

    The path is "section.key", or "key" where it is in no section."""
    above, found = [], []
    for i, line in enumerate(lines):
        if header := re.match(r"\s*\[+([^\]]+)\]+\s*(?:[#;].*)?$", line):
            above = [(-1, header[1].strip())]
        entry = re.match(
            r"""([\s-]*)(?:export )?["']?([\w.-]+)["']?\s*[:=]\s*("[^"]*"|'[^']*'|[^\s#;]\S*(?: +[^\s#;]\S*)*)?""", line
        )
        if not header and entry:
            above = [one for one in above if one[0] < len(entry[1])] + [(len(entry[1]), entry[2])]
            if entry[3]:
                found.append((".".join(name for _, name in above), i, entry.span(3)))
    same = [one for one in found if f".{one[0]}".lower().endswith(f".{path}".lower())]
    if len(same) != 1:
        many = "more than one" if same else "no"
        raise KeyError(f"there is {many} {path!r}; there are: {', '.join(one[0] for one in same or found)}")
    [(_, i, (start, end))] = same
    for pair in (("true", "false"), ("on", "off"), ("yes", "no")):  # as the file has it
        if lines[i][start:end].lower() in pair and str(value).lower() in ("true", "on", "yes", "false", "off", "no"):
            value = pair[str(value).lower() in ("false", "off", "no")]
    lines[i] = f"{lines[i][:start]}{value}{lines[i][end:]}"
