"""Makes the known answers in this folder, with Python's hashlib and hmac and the package `cryptography`.

    python3 tests/vectors/make.py

Knows nothing of the Rust code: every byte layout below is written out from the protocol. The output does not depend on
when or where it is made, so making it again changes nothing.
"""

import hashlib
import hmac
import json
import pathlib
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

import x_wing

HERE = pathlib.Path(__file__).parent
P61 = 2**61 - 1
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def fingerprint(label, digest):
    """Eight groups of five digits."""
    h = sha256(b"smpcfl/2 fingerprint ", label, b"\0", digest)
    return " ".join(f"{word % 100_000:05}" for (word,) in struct.iter_unpack("<I", h))


# --- Seeds -----------------------------------------------------------------------------------------------------------


def hkdf(salt, ikm, info):
    """32 bytes of HKDF-SHA256 (RFC 5869): one block is enough."""
    prk = hmac.digest(salt, ikm, "sha256")
    return hmac.digest(prk, info + b"\x01", "sha256")


def keystream(key, first_block, blocks, place_stripe=lambda stripe: struct.pack("<I", stripe) + bytes(8)):
    """Bytes of ChaCha20 (RFC 8439), all within one stripe of 2^32 blocks."""
    stripe, counter = divmod(first_block, 2**32)
    nonce = struct.pack("<I", counter) + place_stripe(stripe)
    encryptor = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor()
    return encryptor.update(bytes(64 * blocks))


def words(data, order="<"):
    return [f"{word:08x}" for (word,) in struct.iter_unpack(order + "I", data)]


def expansion(seed, ctx):
    key, tag = (hkdf(ctx, seed, b"smpcfl/2 prg " + which) for which in (b"vec", b"tag"))
    edges = [0, 1, 4095, 4096, 2**32 - 1, 2**32, 2**32 + 1, 5 * 2**32 + 7]
    return {
        "seed": seed.hex(),
        "ctx": ctx.hex(),
        "key_vec": key.hex(),
        "key_tag": tag.hex(),
        "blocks": [{"block": block, "words": words(keystream(key, block, 1))} for block in edges],
        "sha256_of_the_first_65536_words": sha256(keystream(key, 0, 4096)).hex(),
        "tag_mask_mod_p61": int.from_bytes(keystream(tag, 0, 1)[:16], "little") % P61,
    }


def mistakes(seed, ctx):
    """First blocks, and the first of stripe 1, as they come out when one rule is broken."""
    key = hkdf(ctx, seed, b"smpcfl/2 prg vec")

    def wrong(what, key, block=0, order="<", **how):
        return {"what": what, "block": block, "words": words(keystream(key, block, 1, **how), order)}

    folded = struct.pack("<I", sum(struct.unpack("<8I", seed)) % 2**32) + bytes(28)
    return [
        wrong("the label of the tag", hkdf(ctx, seed, b"smpcfl/2 prg tag")),
        wrong("no label", hkdf(ctx, seed, b"")),
        wrong("seed and context swapped", hkdf(seed, ctx, b"smpcfl/2 prg vec")),
        wrong("another context", hkdf(sha256(b"another"), seed, b"smpcfl/2 prg vec")),
        wrong("the seed as the key", seed),
        wrong("a seed folded to 32 bits", hkdf(ctx, folded, b"smpcfl/2 prg vec")),
        wrong("big-endian words", key, order=">"),
        {"what": "counting from one", "block": 0, "words": words(keystream(key, 1, 1))},
        {"what": "stripe 1 is stripe 0 again", "block": 2**32, "words": words(keystream(key, 0, 1))},
        wrong("the stripe at the nonce's end", key, 2**32, place_stripe=lambda s: bytes(8) + struct.pack("<I", s)),
        wrong("a big-endian stripe", key, 2**32, place_stripe=lambda s: struct.pack(">I", s) + bytes(8)),
    ]


def seeds():
    cases = [(bytes(range(32)), sha256(b"smpcfl/2 test ctx")), (bytes(32), bytes(32)), (b"\xff" * 32, b"\xff" * 32)]
    cases += [(sha256(b"seed %d" % k), sha256(b"context %d" % k)) for k in range(3)]
    return {"expansions": [expansion(*case) for case in cases], "mistakes": mistakes(*cases[0])}


# --- Signatures ------------------------------------------------------------------------------------------------------

LABELS = ["manifest", "keys", "share", "sum", "result ack", "accusation"]


def signed_text(label, data):
    return b"smpcfl/2 " + label.encode() + b"\0" + sha256(data)


class Identity:
    def __init__(self, name):
        self.private = Ed25519PrivateKey.from_private_bytes(sha256(b"identity of " + name.encode()))
        self.public = self.private.public_key().public_bytes_raw()
        self.node_id = sha256(self.public)

    def sign(self, label, data):
        return self.private.sign(signed_text(label, data))

    def pem(self):
        form = serialization.PrivateFormat.PKCS8
        return self.private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def malleated(signature):
    """The other encoding of the same scalar, which lenient verifiers take."""
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + scalar.to_bytes(32, "little")


def signatures():
    signer = Identity("signer")
    texts = [b"", b"bytes", bytes(range(256)) * 5]
    right = [
        {"label": label, "bytes": text.hex(), "signature": signer.sign(label, text).hex()}
        for label in LABELS
        for text in texts
    ]
    plain, good = b"bytes", signer.sign("keys", b"bytes")
    wrong = {
        "the bytes themselves are signed": signer.private.sign(plain),
        "their hash without a label": signer.private.sign(sha256(plain)),
        "no zero byte behind the label": signer.private.sign(b"smpcfl/2 keys" + sha256(plain)),
        "another protocol": signer.private.sign(b"smpcfl/1 keys\0" + sha256(plain)),
        "another signer": Identity("another").sign("keys", plain),
        "the scalar beyond the group's order": malleated(good),
        "the halves swapped": good[32:] + good[:32],
        "nothing": bytes(64),
    }
    return {
        "private_key_pem": signer.pem(),
        "public_key": signer.public.hex(),
        "node_id": signer.node_id.hex(),
        "right": right,
        "wrong_for_keys_and_these_bytes": plain.hex(),
        "wrong": [{"what": what, "signature": signature.hex()} for what, signature in wrong.items()],
    }


# --- A session: manifest, Keys messages, context, result -------------------------------------------------------------

YEAR_2100 = 4_102_444_800
NOW = 1_800_000_000
PARAMETERS = 6
# Training examples and clipped coordinates; right and wrong answers; four digits of the loss.
HEADER_WORDS = 2 + 2 + 4


def manifest(nodes, initial):
    tables = "".join(
        f"""
[[nodes]]
name = "node-{k}"
organisation = "organisation {k}"
key = "{node.public.hex()}"
examples_max = 1000
expires_unix_s = {YEAR_2100}
"""
        for k, node in enumerate(nodes)
    )
    return f"""protocol = "smpcfl/2"
suite = 2
name = "known answers"
epoch = 1
epoch_key = "{sha256(b"smpcfl/2 epoch key", bytes(range(32))).hex()}"
task = "{sha256(b"").hex()}"
scheme = "peer"
averaging = "fedavg"
collusion = 1
min_nodes = 3
participation = "any"
accepts_differences = true

[relay]
address = "relay.example:4433"

[fixed_point]
ring = "u32"
clip = 1.0
fraction_bits = 23
nodes_max = 128

[limits]
update_norm = 10.0
loss_rise = 1.0

[timeouts]
training_s = 600
keys_s = 10
shares_s = 15
sums_s = 30
result_s = 60
minimum_bandwidth_bytes_per_s = 1000000

[metrics]
kind = "answers"

[model]
initial = "{initial.hex()}"

[[model.layout]]
name = "weight"
shape = [2, 2]

[[model.layout]]
name = "bias"
shape = [2]
{tables}""".encode()


class Keys:
    """A Keys message: fixed-width little-endian fields, in the order of the protocol's list."""

    def __init__(self, signer, session, base, **changes):
        self.signer, self.label, self.spoil = signer, changes.pop("label", "keys"), changes.pop("spoil", None)
        self.fields = {
            "sid": session,
            "node": signer.node_id,
            "round": 1,
            "attempt": 1,
            "previous": session,
            "model": base,
            "round_key": sha256(b"round key of " + signer.node_id),
            "expires_unix_s": NOW + 600,
        }
        self.fields.update(changes)

    def bytes(self):
        packed = {bytes: lambda v: v, int: lambda v: struct.pack("<Q", v)}
        parts = {name: packed[type(value)](value) for name, value in self.fields.items()}
        parts["attempt"] = struct.pack("<I", self.fields["attempt"])
        return b"".join(parts.values())

    def signed(self):
        data = self.bytes()
        signature = self.signer.sign(self.label, data)
        if self.spoil is not None:
            data = data[: self.spoil] + bytes([data[self.spoil] ^ 1]) + data[self.spoil + 1 :]
        return struct.pack("<Q", len(data)) + data + signature


def bundle(messages):
    return struct.pack("<Q", len(messages)) + b"".join(message.signed() for message in messages)


def context(messages, elements=HEADER_WORDS + PARAMETERS):
    ordered = sorted(messages, key=lambda message: message.fields["node"])
    return sha256(b"smpcfl/2 ctx", struct.pack("<Q", elements), *(message.bytes() for message in ordered))


def session():
    authority, stranger = Identity("the authority"), Identity("a stranger")
    nodes = [Identity(f"node {k}") for k in range(4)]
    model = sha256(b"the initial model")
    text = manifest(nodes, model)
    sid = sha256(text)

    def keys(k, **changes):
        return Keys(nodes[k], sid, model, **changes)

    def accepted(messages):
        return {"bundle": bundle(messages).hex(), "ctx": context(messages).hex()}

    def refused(what, refusal, messages):
        return {"what": what, "refusal": refusal, "bundle": bundle(messages).hex()}

    three = [keys(0), keys(1), keys(2)]
    right = [three, three[::-1], [keys(3), keys(1), keys(0), keys(2)], [keys(k, attempt=7) for k in range(3)]]
    wrong = [
        refused("two nodes", "TooFew", three[:2]),
        refused("one of them twice", "Duplicate", three + [keys(1)]),
        refused("a stranger among them", "Stranger", three + [Keys(stranger, sid, model)]),
        refused("a signature under another label", "Invalid", [keys(0), keys(1), keys(2, label="sum")]),
        refused("a bit of a round key changed", "Invalid", [keys(0), keys(1), keys(2, spoil=150)]),
        refused("another's name", "Invalid", [keys(0), keys(1), keys(2, node=nodes[3].node_id)]),
        refused("another session", "Manifest", [keys(0), keys(1), keys(2, sid=sha256(b"another"))]),
        refused("another model", "Model", [keys(0), keys(1), keys(2, model=sha256(b"another"))]),
        refused("another result before it", "Previous", [keys(0), keys(1), keys(2, previous=sha256(b"another"))]),
        refused("another round", "Stale", [keys(0), keys(1), keys(2, round=2)]),
        refused("another attempt", "Stale", [keys(0), keys(1), keys(2, attempt=2)]),
        refused("an expired key", "KeyExpired", [keys(0), keys(1), keys(2, expires_unix_s=NOW)]),
    ]
    unsorted = [message.bytes() for message in sorted(three, key=lambda m: m.fields["node"], reverse=True)]
    in_order = sorted(three, key=lambda message: message.fields["node"])
    count = struct.pack("<Q", HEADER_WORDS + PARAMETERS)
    mistaken = {
        "the other order": sha256(b"smpcfl/2 ctx", count, *unsorted),
        "without the header's words": context(three, PARAMETERS),
        "a 32-bit number of words": sha256(b"smpcfl/2 ctx", count[:4], *(m.bytes() for m in in_order)),
        "signatures included": sha256(b"smpcfl/2 ctx", count, *(m.signed() for m in in_order)),
        "no label": sha256(count, *(m.bytes() for m in in_order)),
    }
    root, next_model = sha256(b"a root"), sha256(b"the next model")
    def sum_of(node):
        return context(three) + node.node_id + sha256(b"root of " + node.node_id) + sha256(b"tag of " + node.node_id)

    sums = {node.node_id: sum_of(node) for node in nodes[:3]}
    signed_sums = [struct.pack("<Q", 128) + sum_of(node) + node.sign("sum", sum_of(node)) for node in nodes[:3]]
    ascending = [sums[node_id] for node_id in sorted(sums)]
    return {
        "unix_s": NOW,
        "manifest": text.decode(),
        "authority": authority.public.hex(),
        "signature": authority.sign("manifest", text).hex(),
        "signature_under_another_label": authority.sign("keys", text).hex(),
        "sid": sid.hex(),
        "fingerprint": fingerprint(b"consortium", sid),
        "authority_fingerprint": fingerprint(b"authority", authority.node_id),
        "initial_model": model.hex(),
        "node_ids": sorted(node.node_id.hex() for node in nodes),
        "right": [accepted(messages) for messages in right],
        "wrong": wrong,
        "mistaken_contexts": [{"what": what, "ctx": ctx.hex()} for what, ctx in mistaken.items()],
        "root": root.hex(),
        "next_model": next_model.hex(),
        "result": sha256(b"smpcfl/2 result", context(three), root, next_model).hex(),
        "sums": (struct.pack("<Q", 3) + b"".join(signed_sums)).hex(),
        "digest_of_the_sums": sha256(b"smpcfl/2 sums", *ascending).hex(),
        "mistaken_digests_of_the_sums": [
            sha256(b"smpcfl/2 sums", *reversed(ascending)).hex(),
            sha256(b"smpcfl/2 sums", *signed_sums).hex(),
            sha256(*ascending).hex(),
        ],
    }


# --- Tags ------------------------------------------------------------------------------------------------------------


def tags():
    """Tags of three nodes' vectors, what masks them, and the sum that they fit."""
    epoch_key, ctx = bytes(range(32)), sha256(b"smpcfl/2 test ctx")
    elements = 65_536 + 7
    prk = hmac.digest(ctx, epoch_key, "sha256")
    expand = lambda info: hmac.digest(prk, info + b"\x01", "sha256")
    numbers = lambda data: [int.from_bytes(data[i : i + 16], "little") % P61 for i in range(0, len(data), 16)]
    alpha = numbers(keystream(expand(b"smpcfl/2 tag alpha"), 0, 1))[: 2 * 2]
    beta = numbers(keystream(expand(b"smpcfl/2 tag beta"), 0, 65_536 // 2))
    nodes = [sha256(b"node", bytes([k])) for k in range(3)]
    blinds = [numbers(expand(b"smpcfl/2 tag blind" + node)) for node in nodes]

    def vector(k):
        """Small signed numbers, with a large one at either side of the block's end."""
        x = [(e * 7919 + 31 * k) % 2001 - 1000 for e in range(elements)]
        x[65_535], x[65_536] = -(2**23), 2**23 - k
        return x

    def linear(x, copy):
        return sum(alpha[2 * (e >> 16) + copy] * beta[2 * (e & 0xFFFF) + copy] * x_e for e, x_e in enumerate(x)) % P61

    vectors = [vector(k) for k in range(3)]
    seed, nonce = sha256(b"seed"), sha256(b"nonce")
    share = [(linear(vectors[0], copy) + blinds[0][copy]) % P61 for copy in (0, 1)]
    return {
        "epoch_key": epoch_key.hex(),
        "epoch_key_check": sha256(b"smpcfl/2 epoch key", epoch_key).hex(),
        "ctx": ctx.hex(),
        "elements": elements,
        "nodes": [node.hex() for node in nodes],
        "first_coefficients": {"alpha": alpha[:2], "beta": beta[:2]},
        "blinds": blinds,
        "linear": [[linear(x, copy) for copy in (0, 1)] for x in vectors],
        "sum": [
            sum((linear(x, copy) + blind[copy]) for x, blind in zip(vectors, blinds)) % P61 for copy in (0, 1)
        ],
        "seed": seed.hex(),
        "mask_of_the_seed": numbers(keystream(hkdf(ctx, seed, b"smpcfl/2 prg tag"), 0, 1))[:2],
        "tag_share": share,
        "nonce": nonce.hex(),
        "commitment": sha256(b"smpcfl/2 tag share", ctx, nodes[0], struct.pack("<QQ", *share), nonce).hex(),
        "mistaken_commitments": [
            sha256(b"smpcfl/2 tag share", ctx, nodes[0], struct.pack(">QQ", *share), nonce).hex(),
            sha256(b"smpcfl/2 tag share", ctx, nodes[0], struct.pack("<QQ", *share[::-1]), nonce).hex(),
            sha256(b"smpcfl/2 tag share", ctx, nodes[1], struct.pack("<QQ", *share), nonce).hex(),
            sha256(b"smpcfl/2 tag share", nodes[0], ctx, struct.pack("<QQ", *share), nonce).hex(),
            sha256(b"smpcfl/2 tag share", ctx, nodes[0], struct.pack("<QQ", *share)).hex(),
        ],
    }


def seed_expansion():
    """One seed at some edges: what the tests of the crate `sharing` read, without the other crates."""
    seed, ctx = bytes(range(32)), sha256(b"smpcfl/2 test ctx")
    key, tag = (hkdf(ctx, seed, b"smpcfl/2 prg " + which) for which in (b"vec", b"tag"))
    chunk = keystream(key, 0, 4096)
    return {
        "seed": seed.hex(),
        "ctx": ctx.hex(),
        "key_vec": key.hex(),
        "key_tag": tag.hex(),
        "words_0_8": words(chunk)[:8],
        "word_65535": words(chunk)[65_535],
        "word_65536": words(keystream(key, 4096, 1))[0],
        "sha256_of_words_0_65536_le": sha256(chunk).hex(),
        "last_block_of_stripe_0_words_0_4": words(keystream(key, 2**32 - 1, 1))[:4],
        "first_block_of_stripe_1_words_0_4": words(keystream(key, 2**32, 1))[:4],
        "tag_mask_mod_p61": int.from_bytes(keystream(tag, 0, 1)[:16], "little") % P61,
    }


# --- Sealing ---------------------------------------------------------------------------------------------------------

# The test vectors of draft-connolly-cfrg-xwing-kem: seed, randomness, shared secret; of the long ones, SHA-256 of the public key and
# of what is encapsulated.
DRAFT = [
    (
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
        "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2"
        "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
        "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
        "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
        "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
    ),
    (
        "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
        "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef"
        "aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
        "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
        "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
        "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
    ),
    (
        "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
        "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619"
        "f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b",
        "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
        "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95",
        "d3ca5578500344b5896cffc4fd740c9311946b82951df155e6fd86a7966b43c6",
    ),
]


def of_the_draft(seed, randomness, shared, sha256_of_public, sha256_of_encapsulated):
    key = x_wing.PrivateKey(bytes.fromhex(seed))
    found, encapsulated = x_wing.encapsulated(key.public, bytes.fromhex(randomness))
    assert found.hex() == shared and key.decapsulated(encapsulated) == found
    assert sha256(key.public).hex() == sha256_of_public and sha256(encapsulated).hex() == sha256_of_encapsulated
    return {
        "seed": seed,
        "randomness": randomness,
        "shared": shared,
        "sha256_of_public": sha256_of_public,
        "sha256_of_encapsulated": sha256_of_encapsulated,
    }


def sealing():
    """X-Wing as its draft has it, boxes, and what is none."""
    secret, randomness = sha256(b"a round key"), sha256(b"for ML-KEM") + sha256(b"for X25519")
    ctx, nodes, drawn = sha256(b"smpcfl/2 test ctx"), [sha256(b"from"), sha256(b"to")], [sha256(b"%d" % k) for k in range(3)]
    key = x_wing.PrivateKey(secret)
    shared, encapsulated = x_wing.encapsulated(key.public, randomness)
    info = b"smpcfl/2 seal" + ctx + b"".join(nodes)

    def box(count, shared=shared, info=info, encapsulated=encapsulated):
        return (encapsulated + x_wing.sealed(shared, info, b"".join(drawn[:count]))).hex()

    shared_m, _ = x_wing.ml_kem_encapsulated(key.public[:1184], randomness[:32])
    shared_x = x_wing.x25519(randomness[32:], key.public[1184:])
    ends = encapsulated[1088:] + key.public[1184:]
    # What X25519 makes of zero is zero, with every key.
    zero = bytes(32)
    of_low_order = x_wing.combined(shared_m, zero, zero, key.public[1184:])
    mistakes = {
        "no label": box(1, info=info[13:]),
        "sender and recipient swapped": box(1, info=b"smpcfl/2 seal" + ctx + nodes[1] + nodes[0]),
        "the shared secret of ML-KEM alone": box(1, shared_m),
        "the shared secret of X25519 alone": box(1, shared_x),
        "zeros for that of X25519": box(1, x_wing.combined(shared_m, zero, encapsulated[1088:], key.public[1184:])),
        "zeros for that of ML-KEM": box(1, x_wing.combined(zero, shared_x, encapsulated[1088:], key.public[1184:])),
        "a key of low order for X25519": box(1, of_low_order, encapsulated=encapsulated[:1088] + zero),
        "no label where they are combined": box(1, hashlib.sha3_256(shared_m + shared_x + ends).digest()),
    }
    return {
        "draft": [of_the_draft(*known) for known in DRAFT],
        "secret": secret.hex(),
        "sha256_of_public": sha256(key.public).hex(),
        "randomness": randomness.hex(),
        "ctx": ctx.hex(),
        "from": nodes[0].hex(),
        "to": nodes[1].hex(),
        "seeds": [seed.hex() for seed in drawn],
        "box_of_the_first": box(1),
        "box_of_all": box(3),
        "mistakes": [{"what": what, "box": wrong} for what, wrong in mistakes.items()],
    }


def write(folder, name, indent, made):
    (folder / f"{name}.json").write_text(json.dumps(made, indent=indent) + "\n")


for name, make in {"seeds": seeds, "signatures": signatures, "session": session, "tags": tags}.items():
    write(HERE, name, 1, make())
for name, make in {"seed_expansion": seed_expansion, "sealing": sealing}.items():
    write(HERE.parents[1] / "sharing/tests/vectors", name, 2, make())
