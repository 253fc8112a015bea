// The shares to combine into a vector, and where in it a dispatch works. One thread makes one block of 16 words; it
// keeps the vector's words in registers while it goes through the shares.

// Shares in one dispatch.
const SHARES_MAX = 128u;

struct Span {
    // Number of the first block, low word first.
    first_block: vec2<u32>,
    // Number of blocks.
    blocks: u32,
}

// The keys of the shares: first those to subtract, then those to add.
struct Shares {
    minus: u32,
    plus: u32,
    keys: array<Key, SHARES_MAX>,
}

@group(0) @binding(0) var<uniform> span: Span;
@group(0) @binding(1) var<uniform> shares: Shares;
// Four rows a block.
@group(0) @binding(2) var<storage, read_write> vector: array<vec4<u32>>;

fn load(block: u32) -> Block {
    let row = 4u * block;
    return Block(vector[row], vector[row + 1u], vector[row + 2u], vector[row + 3u]);
}

fn store(block: u32, words: Block) {
    let row = 4u * block;
    vector[row] = words.a;
    vector[row + 1u] = words.b;
    vector[row + 2u] = words.c;
    vector[row + 3u] = words.d;
}

fn add_share(words: Block, share: Block) -> Block {
    return Block(
        add(words.a, share.a),
        add(words.b, share.b),
        add(words.c, share.c),
        add(words.d, share.d),
    );
}

fn subtract_share(words: Block, share: Block) -> Block {
    return Block(
        subtract(words.a, share.a),
        subtract(words.b, share.b),
        subtract(words.c, share.c),
        subtract(words.d, share.d),
    );
}
