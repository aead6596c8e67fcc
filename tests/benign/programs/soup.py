"""Tables and links of a saved page, with the tools that everybody uses for it."""

import io

import lxml.html
import pandas as pd
import yaml
from bs4 import BeautifulSoup

page = open("page.html", encoding="utf-8").read()
soup = BeautifulSoup(page, "lxml")
print(soup.title.text, [a["href"] for a in soup.select("li.book a")][:2])
print(
    max(float(s.text) for s in soup.find_all("span", class_="price")), lxml.html.fromstring(page).xpath("//h1/text()")
)
print(pd.read_html(io.StringIO(page))[0].to_dict("list"))
print(yaml.safe_load("a: [1, 2]\nb: {c: yes}"), yaml.safe_dump({"x": 1}).strip())

# Prints:
# Books & more ['/b/1', '/b/2']
# 14.5 ['Offers']
# {'city': ['Oslo', 'Rome'], 'people': [709, 2750]}
# {'a': [1, 2], 'b': {'c': True}} x: 1
