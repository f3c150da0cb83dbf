#!/usr/bin/env python3
"""Derives the vectors of tests/unit/secure_vectors.h and code_vectors.h a second time, from the text of haul-wire(5),
the Noise specification, RFC 9496 and the draft of CPace, with nothing but Python's own BLAKE2b and SHA-2. Prints what
differs; exit status 1 if anything does."""
import hashlib
import hmac
import os
import re
import struct
import sys

P = 2**255 - 19


def x25519(scalar, u):
    k = int.from_bytes(bytes([scalar[0] & 248]) + scalar[1:31] + bytes([scalar[31] & 127 | 64]), "little")
    x1 = int.from_bytes(u, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % P, c * b % P, a * a % P, b * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public(secret):
    return x25519(secret, bytes([9]) + bytes(31))


def chacha_block(key, counter, nonce):
    start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    s = start[:]

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            v = s[z] ^ s[x]
            s[z] = (v << n | v >> (32 - n)) & 0xFFFFFFFF

    for _ in range(10):
        for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(*q)
        for q in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(*q)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(s, start)))


def padded(b):
    return b + bytes(-len(b) % 16)


def seal(key, number, ad, text):
    nonce = bytes(4) + struct.pack("<Q", number)
    stream = b"".join(chacha_block(key, 1 + i, nonce) for i in range((len(text) + 63) // 64))
    out = bytes(a ^ b for a, b in zip(text, stream))
    once = chacha_block(key, 0, nonce)
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    acc = 0
    mac = padded(ad) + padded(out) + struct.pack("<QQ", len(ad), len(out))
    for i in range(0, len(mac), 16):
        acc = (acc + int.from_bytes(mac[i : i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return out + ((acc + int.from_bytes(once[16:32], "little")) % 2**128).to_bytes(16, "little")


def blake(*parts, size=64, key=b""):
    return hashlib.blake2b(b"".join(parts), digest_size=size, key=key).digest()


def hkdf(ck, data, count):
    temp, out = hmac.new(ck, data, hashlib.blake2b).digest(), [b""]
    for i in range(count):
        out.append(hmac.new(temp, out[-1] + bytes([i + 1]), hashlib.blake2b).digest())
    return out[1:]


class Noise:
    def __init__(self, name, prologue):
        self.h = self.ck = name.encode().ljust(64, b"\0")
        self.key, self.n = None, 0
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = blake(self.h, data)

    def mix_key(self, data):
        self.ck, k = hkdf(self.ck, data, 2)
        self.key, self.n = k[:32], 0

    def mix_psk(self, psk):
        self.ck, h, k = hkdf(self.ck, psk, 3)
        self.mix_hash(h)
        self.key, self.n = k[:32], 0

    def encrypt(self, text):
        out = seal(self.key, self.n, self.h, text)
        self.n += 1
        self.mix_hash(out)
        return out

    def ephemeral(self, pub):
        self.mix_hash(pub)
        self.mix_key(pub)
        return pub


# ---- ristretto255, RFC 9496

D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def negative(x):
    return x % P & 1


def absolute(x):
    return -x % P if negative(x) else x % P


def sqrt_ratio(u, v):
    r = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    check = v * r * r % P
    square = check in (u % P, -u % P)
    if check in (-u % P, -u * ROOT % P):
        r = r * ROOT % P
    return square, absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
# the root of a*d - 1 is taken as in the RFC: the odd one
SQRT_AD_MINUS_ONE = -sqrt_ratio(-D - 1, 1)[1] % P


def add(p, q):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = p, q
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    out = (0, 1, 1, 0)
    for bit in bin(scalar)[2:]:
        out = add(out, out)
        if bit == "1":
            out = add(out, point)
    return out


def encode(point):
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    root = sqrt_ratio(1, u1 * u2 * u2)[1]
    den1, den2 = root * u1 % P, root * u2 % P
    z_inv = den1 * den2 * t % P
    den = den2
    if negative(t * z_inv):
        x, y, den = y * ROOT % P, x * ROOT % P, den1 * INVSQRT_A_MINUS_D % P
    if negative(x * z_inv):
        y = -y % P
    return absolute(den * (z - y)).to_bytes(32, "little")


def elligator(t):
    r = ROOT * t * t % P
    u, v = (r + 1) * (1 - D * D) % P, (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = P - 1
    if not square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * (D - 1) ** 2 - v) % P
    w0, w1, w2, w3 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P, (1 - s * s) % P, (1 + s * s) % P
    return w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P


def from_hash(h):
    return add(*(elligator(int.from_bytes(h[i : i + 32], "little") % 2**255) for i in (0, 32)))


# ---- CPace


def lv(*parts):
    assert all(len(x) < 128 for x in parts)
    return b"".join(bytes([len(x)]) + x for x in parts)


def share(point, seed):
    scalar = int.from_bytes(blake(b"haul/1 code scalar", size=32, key=seed), "little") % 2**252
    return scalar, times(scalar, point)


def derive_code():
    ei, er, prs, name = secret("ei"), secret("er"), secret("prs"), b"office"
    prefix = bytes.fromhex("894841554c0d0a1a01") + bytes([3, 1]) + bytes(5)
    sid = blake(b"haul/1 code sid", size=16, key=ei)
    dsi = b"CPaceRistretto255"
    pad = bytes(128 - len(lv(prs)) - len(lv(dsi)) - 1)
    g = from_hash(hashlib.sha512(lv(dsi, prs, pad, lv(b"haul/1 cpace", name), sid)).digest())
    (a, ya), (b, yb) = share(g, ei), share(g, er)
    k = encode(times(a, yb))
    assert k == encode(times(b, ya))
    said = lv(encode(ya), prefix) + lv(encode(yb), b"")
    isk = hashlib.sha512(lv(dsi + b"_ISK", sid, k) + said).digest()
    key = blake(b"haul/1 cpace", size=32, key=isk)
    ei, er = (blake(b"haul/1 code ephemeral", size=32, key=x) for x in (ei, er))
    return [prefix + sid + encode(ya), encode(yb)] + derive_key(3, key, ei, er, name)


def secret(label):
    return hashlib.sha256(b"haul-test " + label.encode()).digest()


def derive(mode):
    return derive_key(mode, bytes(range(32)), secret("ei"), secret("er"), b"")


def derive_key(mode, k, ei, er, name):
    si, sr = secret("si"), secret("sr")
    p1 = bytes.fromhex("01010300000000000000100000000000") + secret("ii")[:16]
    p2 = bytes.fromhex("01010000000000000000100000008000") + secret("ir")[:16]
    prefix = bytes.fromhex("894841554c0d0a1a01") + bytes([mode, 1]) + bytes(5)
    prologue = b"haul/1\0\0" + prefix + blake(b"haul/1 realm\0" + name, size=32)
    gatekey = blake(b"haul/1 gate", size=32, key=k if mode != 2 else public(sr))
    gate = blake(prefix, public(ei), size=16, key=gatekey)
    psk = blake(b"haul/1 psk", size=32, key=k) if mode != 2 else bytes(32)
    n = Noise("Noise_%s_25519_ChaChaPoly_BLAKE2b" % ("NNpsk0" if mode != 2 else "IKpsk2"), prologue)
    m1 = prefix + gate
    if mode != 2:
        n.mix_psk(psk)
        m1 += n.ephemeral(public(ei))
    else:
        n.mix_hash(public(sr))
        m1 += n.ephemeral(public(ei))
        n.mix_key(x25519(ei, public(sr)))
        m1 += n.encrypt(public(si))
        n.mix_key(x25519(si, public(sr)))
    m1 += n.encrypt(p1)
    m2 = n.ephemeral(public(er))
    n.mix_key(x25519(ei, public(er)))
    if mode == 2:
        n.mix_key(x25519(si, public(er)))
        n.mix_psk(psk)
    m2 += n.encrypt(p2)
    i2r = hkdf(n.ck, b"", 2)[0][:32]
    length = struct.pack("<I", 8 + 16)
    return [m1, m2, length + seal(i2r, 0, length, b"\1confirm")]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    said = []
    for name in ("secure_vectors", "code_vectors"):
        with open(os.path.join(here, name + ".h"), encoding="ascii") as f:
            text = f.read().split(name + "[] = {")[1]
        # adjacent literals are one string
        said += re.findall(r'"([0-9a-f]+)"', re.sub(r'"\s+"', "", text))
    found = [x.hex() for mode in (1, 2) for x in derive(mode)] + [x.hex() for x in derive_code()]
    names = ["mode %d %s" % (mode, what) for mode in (1, 2) for what in ("M1", "M2", "record")]
    names += ["mode 3 %s" % what for what in ("C1", "C2", "M1", "M2", "record")]
    bad = [name for name, a, b in zip(names, said, found) if a != b]
    for name in bad:
        print("%s differs" % name)
    if len(said) != len(found):
        print("%d vectors, expected %d" % (len(said), len(found)))
        return 1
    print("%d of %d vectors" % (len(found) - len(bad), len(found)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
