import re


def as_number(text):
    """The number that a text begins with: 1234.5 for '$1,234.50', 6512.0 for '6512 [4900-8300]'; NaN without one."""
    found = re.match(r"\W{0,3}?(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:[.,]\d+)?)", str(text))
    thousands = found and re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", found[1])
    return float(found[1].replace(",", "" if thousands else ".")) if found else float("nan")
