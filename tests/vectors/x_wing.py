"""X-Wing (draft-connolly-cfrg-xwing-kem) of ML-KEM-768 (FIPS 203) and X25519, and HPKE's base mode with it (RFC 9180,
draft-ietf-hpke-pq): what a box is made of.

Written from these texts, for known answers only: it takes no care that its time says nothing of its secrets.
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

Q, N, K = 3329, 256, 3
ETA, DU, DV = 2, 10, 4


# --- ML-KEM-768 ------------------------------------------------------------------------------------------------------


def reversed_bits(k):
    return int(f"{k:07b}"[::-1], 2)


# Powers of 17, a 256th root of unity modulo q.
ZETAS = [pow(17, reversed_bits(k), Q) for k in range(128)]
SQUARES = [pow(17, 2 * reversed_bits(k) + 1, Q) for k in range(128)]


def ntt(f):
    f, k = list(f), 1
    for half in (128, 64, 32, 16, 8, 4, 2):
        for start in range(0, N, 2 * half):
            for j in range(start, start + half):
                t = ZETAS[k] * f[j + half]
                f[j], f[j + half] = (f[j] + t) % Q, (f[j] - t) % Q
            k += 1
    return f


def inverse_ntt(f):
    f, k = list(f), 127
    for half in (2, 4, 8, 16, 32, 64, 128):
        for start in range(0, N, 2 * half):
            for j in range(start, start + half):
                t = f[j]
                f[j], f[j + half] = (t + f[j + half]) % Q, ZETAS[k] * (f[j + half] - t) % Q
            k -= 1
    return [3303 * x % Q for x in f]


def product(f, g):
    """Of two polynomials that are both transformed."""
    pairs = (
        ((a * c + b * d * SQUARES[k]) % Q, (a * d + b * c) % Q)
        for k, (a, b, c, d) in enumerate(zip(f[::2], f[1::2], g[::2], g[1::2]))
    )
    return [x for pair in pairs for x in pair]


def added(*polynomials):
    return [sum(xs) % Q for xs in zip(*polynomials)]


def dot(fs, gs):
    return added(*(product(f, g) for f, g in zip(fs, gs)))


def packed(polynomial, bits):
    number = sum(x << (bits * k) for k, x in enumerate(polynomial))
    return number.to_bytes(N * bits // 8, "little")


def unpacked(data, bits):
    number = int.from_bytes(data, "little")
    return [(number >> (bits * k)) & ((1 << bits) - 1) for k in range(N)]


def compressed(polynomial, bits):
    return [((x << bits) + Q // 2) // Q % (1 << bits) for x in polynomial]


def decompressed(polynomial, bits):
    return [(x * Q + (1 << (bits - 1))) >> bits for x in polynomial]


def uniform(rho, row, column):
    """An entry of the public matrix, which is transformed."""
    stream = hashlib.shake_128(rho + bytes([column, row])).digest(3 * 1024)
    found = []
    for a, b, c in zip(stream[::3], stream[1::3], stream[2::3]):
        found += [d for d in (a + 256 * (b % 16), b // 16 + 16 * c) if d < Q]
    assert len(found) >= N
    return found[:N]


def small(sigma, counter):
    bits = unpacked(hashlib.shake_256(sigma + bytes([counter])).digest(64 * ETA), 2 * ETA)
    ones = [bin(x % 4).count("1") - bin(x // 4).count("1") for x in bits]
    return [x % Q for x in ones]


def matrix(rho):
    return [[uniform(rho, row, column) for column in range(K)] for row in range(K)]


def ml_kem_keys(d, z):
    expanded = hashlib.sha3_512(d + bytes([K])).digest()
    rho, sigma = expanded[:32], expanded[32:]
    s = [ntt(small(sigma, k)) for k in range(K)]
    e = [ntt(small(sigma, K + k)) for k in range(K)]
    t = [added(dot(row, s), error) for row, error in zip(matrix(rho), e)]
    public = b"".join(packed(x, 12) for x in t) + rho
    return public, (s, public, z)


def encrypted(public, message, randomness):
    t, rho = [unpacked(public[384 * k : 384 * (k + 1)], 12) for k in range(K)], public[384 * K :]
    y = [ntt(small(randomness, k)) for k in range(K)]
    errors = [small(randomness, K + k) for k in range(K + 1)]
    columns = zip(*matrix(rho))
    u = [added(inverse_ntt(dot(column, y)), error) for column, error in zip(columns, errors)]
    v = added(inverse_ntt(dot(t, y)), errors[K], decompressed(unpacked(message, 1), 1))
    return b"".join(packed(compressed(x, DU), DU) for x in u) + packed(compressed(v, DV), DV)


def ml_kem_encapsulated(public, message):
    both = hashlib.sha3_512(message + hashlib.sha3_256(public).digest()).digest()
    return both[:32], encrypted(public, message, both[32:])


def unpacked_message(polynomial):
    return packed(compressed(polynomial, 1), 1)


def ml_kem_decapsulated(private, ciphertext):
    s, public, z = private
    size = 32 * DU
    u = [decompressed(unpacked(ciphertext[size * k : size * (k + 1)], DU), DU) for k in range(K)]
    v = decompressed(unpacked(ciphertext[size * K :], DV), DV)
    masked = inverse_ntt(dot(s, [ntt(x) for x in u]))
    message = unpacked_message([(a - b) % Q for a, b in zip(v, masked)])
    shared, again = ml_kem_encapsulated(public, message)
    return shared if again == ciphertext else hashlib.shake_256(z + ciphertext).digest(32)


# --- X-Wing ----------------------------------------------------------------------------------------------------------


def x25519(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def x25519_public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def combined(shared_m, shared_x, ciphertext_x, public_x):
    return hashlib.sha3_256(shared_m + shared_x + ciphertext_x + public_x + rb"\.//^" + b"\\").digest()


class PrivateKey:
    def __init__(self, seed):
        expanded = hashlib.shake_256(seed).digest(96)
        public, self.private_m = ml_kem_keys(expanded[:32], expanded[32:64])
        self.private_x = expanded[64:]
        self.public = public + x25519_public(self.private_x)

    def decapsulated(self, ciphertext):
        ciphertext_m, ciphertext_x = ciphertext[:1088], ciphertext[1088:]
        shared_m = ml_kem_decapsulated(self.private_m, ciphertext_m)
        shared_x = x25519(self.private_x, ciphertext_x)
        return combined(shared_m, shared_x, ciphertext_x, self.public[1184:])


def encapsulated(public, randomness):
    public_m, public_x = public[:1184], public[1184:]
    shared_m, ciphertext_m = ml_kem_encapsulated(public_m, randomness[:32])
    ciphertext_x = x25519_public(randomness[32:])
    shared = combined(shared_m, x25519(randomness[32:], public_x), ciphertext_x, public_x)
    return shared, ciphertext_m + ciphertext_x


# --- HPKE: X-Wing (0x647a), HKDF-SHA256 (1), ChaCha20Poly1305 (3) ------------------------------------------------------

SUITE = b"HPKE" + struct.pack(">HHH", 0x647A, 1, 3)


def extracted(salt, label, ikm):
    return hmac.digest(salt, b"HPKE-v1" + SUITE + label + ikm, "sha256")


def expanded(prk, label, info, length):
    """At most 32 bytes: one block is enough."""
    info = struct.pack(">H", length) + b"HPKE-v1" + SUITE + label + info
    return hmac.digest(prk, info + b"\x01", "sha256")[:length]


def sealed(shared, info, plaintext):
    """The first message under this shared secret, with empty associated data."""
    context = b"\0" + extracted(b"", b"psk_id_hash", b"") + extracted(b"", b"info_hash", info)
    secret = extracted(shared, b"secret", b"")
    key, nonce = expanded(secret, b"key", context, 32), expanded(secret, b"base_nonce", context, 12)
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, b"")
