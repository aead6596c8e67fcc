import re


def set_value(lines, section, key, value):
    """Change the value of a key in the lines of an INI, YAML, TOML or .env file; all else stays, comments too.

    The section is "server" below [server] or server:, and "" where there is none."""
    above, found = [], []
    for i, line in enumerate(lines):
        if header := re.match(r"\s*\[+([^\]]+)\]+\s*(?:[#;].*)?$", line):
            above = [(-1, header[1].strip())]
        entry = re.match(
            r"""([\s-]*)(?:export )?["']?([\w.-]+)["']?\s*[:=]\s*("[^"]*"|'[^']*'|[^\s#;]\S*(?: +[^\s#;]\S*)*)?""", line
        )
        if header or not entry:
            continue
        above = [one for one in above if one[0] < len(entry[1])]
        found.append(f"{above[-1][1] if above else ''}.{entry[2]}")
        if not entry[3]:
            above.append((len(entry[1]), entry[2]))
        elif found[-1].lower() == f"{section}.{key}".lower():
            lines[i] = f"{line[: entry.start(3)]}{value}{line[entry.end(3) :]}"
            return
    raise KeyError(f"there is no {key!r} in the section {section!r}; there are: {', '.join(found)}")
