"""Checksums, signatures, passwords and identifiers."""

import hashlib
import hmac
import os
import random
import secrets
import string
import uuid
import zlib

print(hashlib.md5(open("notes.txt", "rb").read()).hexdigest(), zlib.crc32(b"hello"))
print(hashlib.sha256(b"abc").hexdigest()[:16], hashlib.blake2b(b"abc", digest_size=8).hexdigest())
print(
    hmac.new(b"key", b"message", "sha1").hexdigest()[:12],
    hashlib.pbkdf2_hmac("sha256", b"pw", b"salt", 1000).hex()[:12],
)
print(hashlib.scrypt(b"pw", salt=b"salt", n=1024, r=8, p=1).hex()[:12], len(hashlib.algorithms_available) > 10)
password = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(16))
print(len(password), len(secrets.token_hex(8)), secrets.compare_digest("a", "a"), len(os.urandom(5)))
print(uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org"), uuid.uuid4() != uuid.uuid4(), uuid.uuid1().version)
random.seed(42)
print(random.randint(1, 100), random.sample(range(10), 3), round(random.gauss(0, 1), 4), random.choice("abc"))
print(random.SystemRandom().random() < 1)

# Prints:
# 025b077da053e2fb01b12ed40b755cc2 907060870
# ba7816bf8f01cfea d8bb14d833d59559
# 2088df74d5f2 0a38253555ce
# 9f1f8695838e True
# 16 16 True 5
# 0d092af3-c9f8-531f-9cc3-9db40a0750ef True 1
# 82 [1, 0, 4] 0.0176 a
# True
