"""Titles, prices and links of a saved page."""

from html import escape, unescape
from html.parser import HTMLParser
from urllib.parse import urljoin


class Books(HTMLParser):
    def __init__(self):
        super().__init__()
        self.books, self.field = [], None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "a":
            self.books.append({"url": urljoin("https://shop.test/list/", attrs["href"])})
            self.field = "title"
        elif attrs.get("class") == "price":
            self.field = "price"

    def handle_data(self, data):
        if self.field:
            self.books[-1][self.field] = data
            self.field = None


parser = Books()
parser.feed(open("page.html", encoding="utf-8").read())
for book in sorted(parser.books, key=lambda b: float(b["price"])):
    print(book["title"], book["price"], book["url"])
print(unescape("Books &amp; more"), escape("<b>"))

# Prints:
# Emma 7.00 https://example.org/b/3?x=1&y=2
# Dune 9.99 https://shop.test/b/1
# Ulysses 14.50 https://shop.test/b/2
# Books & more &lt;b&gt;
