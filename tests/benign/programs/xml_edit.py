"""Raise prices in an XML file."""

import xml.dom.minidom
import xml.etree.ElementTree as ET

tree = ET.parse("catalog.xml")
for price in tree.getroot().iter("price"):
    price.text = f"{float(price.text) * 1.1:.2f}"
book = ET.SubElement(tree.getroot(), "book", id="b3")
ET.SubElement(book, "title").text = "Ulysses & Co"
tree.write("catalog.xml", encoding="utf-8", xml_declaration=True)
document = xml.dom.minidom.parse("catalog.xml")
print([n.firstChild.data for n in document.getElementsByTagName("title")])
print([b.get("id") for b in ET.parse("catalog.xml").findall("./book[price]")])

# Prints:
# ['Dune', 'Emma', 'Ulysses & Co']
# ['b1', 'b2']
# Leaves:
# modified catalog.xml
