// ChaCha20 (RFC 8439), one block a call. A state is the four rows of its matrix, so a quarter round works on all four
// columns at once, and the diagonals are columns after the rows have turned.

const DOUBLE_ROUNDS = 10u;
// "expand 32-byte k", little-endian (RFC 8439, section 2.3).
const CONSTANTS = vec4<u32>(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u);

// The 16 words of a block, four a row.
struct Block {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

// A key as eight little-endian words.
struct Key {
    low: vec4<u32>,
    high: vec4<u32>,
}

// The block with the given number: the low word is the counter, the high word, the stripe, begins the nonce.
fn chacha20(key: Key, number: vec2<u32>) -> Block {
    let position = vec4(number, 0u, 0u);
    var state = Block(CONSTANTS, key.low, key.high, position);
    for (var round = 0u; round < DOUBLE_ROUNDS; round++) {
        state = quarter_rounds(state);
        state = Block(state.a, state.b.yzwx, state.c.zwxy, state.d.wxyz);
        state = quarter_rounds(state);
        state = Block(state.a, state.b.wxyz, state.c.zwxy, state.d.yzwx);
    }
    return Block(
        state.a + CONSTANTS,
        state.b + key.low,
        state.c + key.high,
        state.d + position,
    );
}

// The quarter round (RFC 8439, section 2.1) of each column.
fn quarter_rounds(state: Block) -> Block {
    var a = state.a;
    var b = state.b;
    var c = state.c;
    var d = state.d;
    a += b;
    d = rotate_left(d ^ a, 16u);
    c += d;
    b = rotate_left(b ^ c, 12u);
    a += b;
    d = rotate_left(d ^ a, 8u);
    c += d;
    b = rotate_left(b ^ c, 7u);
    return Block(a, b, c, d);
}

fn rotate_left(words: vec4<u32>, bits: u32) -> vec4<u32> {
    return (words << vec4(bits)) | (words >> vec4(32u - bits));
}

// The number of the block that lies `distance` after block `first`.
fn block_after(first: vec2<u32>, distance: u32) -> vec2<u32> {
    let counter = first.x + distance;
    return vec2(counter, first.y + u32(counter < distance));
}
