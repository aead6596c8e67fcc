"""Write a sound and a picture byte by byte, and compress."""

import array
import bz2
import gzip
import lzma
import math
import struct
import wave
import zlib

samples = array.array("h", (int(20_000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(8000)))
with wave.open("tone.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", ""))
    sound.writeframes(samples.tobytes())
with wave.open("tone.wav") as sound:
    print(sound.getnframes(), sound.getframerate())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


rows = b"".join(b"\0" + bytes([x * 16, y * 16, 128] * 1)[:3] * 16 for y in range(16) for x in (y,))
with open("tile.png", "wb") as f:
    f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)))
    f.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
print(open("tile.png", "rb").read()[12:16])
text = b"abc" * 10_000
for module in (gzip, bz2, lzma):
    with module.open("/tmp/packed", "wb") as f:
        f.write(text)
    with module.open("/tmp/packed") as f:
        print(module.__name__, f.read() == text)

# Prints:
# 8000 8000
# b'IHDR'
# gzip True
# bz2 True
# lzma True
# Leaves:
# created tile.png
# created tone.wav
