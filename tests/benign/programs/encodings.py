"""Convert a file from an old encoding, and text to and from bytes."""

import base64
import binascii
import codecs

with open("latin1.txt", encoding="latin-1") as source, open("utf8.txt", "w", encoding="utf-8-sig") as target:
    target.write(source.read())
print(open("utf8.txt", "rb").read()[:6], open("utf8.txt", encoding="utf-8-sig").read().strip())
try:
    open("latin1.txt", encoding="utf-8").read()
except UnicodeDecodeError as error:
    print(error.reason)
print(base64.b64encode(b"hello").decode(), binascii.hexlify(b"hi"), base64.b85decode(base64.b85encode(b"data")))
print(codecs.decode("uryyb", "rot13"), "é".encode("utf-16-le"), b"\xe9".decode("cp1252"), "x".encode("idna"))

# Prints:
# b'\xef\xbb\xbfna\xc3' naïve;café
# invalid continuation byte
# aGVsbG8= b'6869' b'data'
# hello b'\xe9\x00' é b'x'
# Leaves:
# created utf8.txt
