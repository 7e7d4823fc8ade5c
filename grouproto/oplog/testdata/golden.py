#!/usr/bin/env python3
"""Operations built from the text of docs/groups.md, "Operations", alone: layouts by hand, Ed25519 as in RFC 8032.

usage: python3 golden.py > ops.json
"""
import hashlib, json
from struct import pack

# Ed25519, the plain way; keys here are throw-away ones.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(n, a):
    r = (0, 1)
    while n:
        if n & 1:
            r = add(r, a)
        a, n = add(a, a), n >> 1
    return r


def root(v):
    x = pow(v, (P + 3) // 8, P)
    return x if x * x % P == v else x * pow(2, (P - 1) // 4, P) % P


BY = 4 * pow(5, -1, P) % P
BX = root((BY * BY - 1) * pow(D * BY * BY + 1, -1, P) % P)
BASE = (BX if BX % 2 == 0 else P - BX, BY)


def point(a):
    return (a[1] | (a[0] & 1) << 255).to_bytes(32, 'little')


def secret(seed):
    h = hashlib.sha512(seed).digest()
    s = int.from_bytes(h[:32], 'little') & (2**254 - 8) | 2**254
    return s, h[32:]


def public(seed):
    return point(times(secret(seed)[0], BASE))


def sign(seed, m):
    s, prefix = secret(seed)
    a = public(seed)
    r = int.from_bytes(hashlib.sha512(prefix + m).digest(), 'little') % ORDER
    rr = point(times(r, BASE))
    k = int.from_bytes(hashlib.sha512(rr + a + m).digest(), 'little') % ORDER
    return rr + ((r + k * s) % ORDER).to_bytes(32, 'little')


# Operations.
def str8(b):
    return pack('>B', len(b)) + b


def str16(b):
    return pack('>H', len(b)) + b


def labelled(label, x):
    return str8(label.encode()) + x


anna, bert = b'\x01' * 32, b'\x02' * 32
A, B = public(anna), public(bert)
SYMMETRIC = pack('>HBB', 1, 0, 12) + bytes([1] * 12)
MODERATED = pack('>HBB', 1, 1, 12) + bytes([3, 2, 3, 2, 3, 4, 3, 4, 4, 1, 1, 2])
TIME = 1_800_000_000


def operation(name, seed, group, seq, parents, code, content, time=TIME):
    body = (pack('>H', 1) + group + public(seed) + pack('>Q', seq) + pack('>B', len(parents)) + b''.join(sorted(parents))
            + pack('>qB', time, code) + content)
    op = {'name': name, 'seed': seed.hex(), 'id': hashlib.sha256(labelled('coterie/op-id/1', body)).hexdigest(),
          'signed': (str16(body) + sign(seed, labelled('coterie/op/1', body))).hex()}
    out.append(op)
    return bytes.fromhex(op['id'])


out = []
settings = pack('>B', 2) + str8(b'about') + str16(b'a group') + str8(b'title') + str16(b'Friends')
g = operation('genesis', anna, bytes(32), 0, [], 1, b'\x07' * 32 + SYMMETRIC + settings)
a = operation('add', anna, g, 1, [g], 2, B + b'\x01' + b'\x09' * 32)
s = operation('set', bert, g, 0, [a], 7, str8(b'pin/1') + str16(b'\x00\xff'))
r = operation('role', anna, g, 2, [a], 5, B + b'\x02')
p = operation('policy', anna, g, 3, [s, r], 6, MODERATED)
u = operation('unset', anna, g, 4, [p], 7, str8(b'title') + str16(b''))
l = operation('leave', bert, g, 1, [p], 4, b'')
m = operation('remove and hide', anna, g, 5, [u, l], 3, pack('>B', 1) + B + pack('>Q', 2**40 + 5) + b'\x01')
operation('close', anna, g, 6, [m], 8, b'', -3600)
print(json.dumps(out, indent=1))
