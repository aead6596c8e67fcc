"""Take addresses and messages apart and put them together."""

import email
import email.policy
import ipaddress
import mimetypes
import urllib.parse
from email.message import EmailMessage

url = urllib.parse.urlsplit("https://user@example.org:8443/a%20b/c?q=caf%C3%A9&x=1&x=2#top")
print(url.hostname, url.port, urllib.parse.unquote(url.path), urllib.parse.parse_qs(url.query))
print(
    urllib.parse.urlencode({"q": "a b", "n": 1}),
    urllib.parse.quote("ü/x"),
    urllib.parse.urljoin("http://a/b/c", "../d"),
)
message = EmailMessage()
message["Subject"], message["From"], message["To"] = "Report — März", "a@example.org", "b@example.org"
message.set_content("See the attachment.")
message.add_attachment(open("sales.csv", "rb").read(), maintype="text", subtype="csv", filename="sales.csv")
read = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
print(read["subject"], [part.get_filename() for part in read.iter_attachments()])
print(mimetypes.guess_type("a.png")[0], ipaddress.ip_address("192.168.1.7") in ipaddress.ip_network("192.168.0.0/16"))

# Prints:
# example.org 8443 /a b/c {'q': ['café'], 'x': ['1', '2']}
# q=a+b&n=1 %C3%BC/x http://a/d
# Report — März ['sales.csv']
# image/png True
