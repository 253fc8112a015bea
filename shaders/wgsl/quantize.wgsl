// Encodes an update as fixed point, with stochastic rounding. One thread takes the 16 coordinates that one block of the
// rounding keystream serves. No floating point: the update is read as bits.

const FRACTION_FIELD_BITS = 23u;
const FRACTION_FIELD = 0x007fffffu;
const MAGNITUDE_MASK = 0x7fffffffu;
const INFINITY_BITS = 0x7f800000u;
// The exponent field e of a normal number stands for a mantissa times 2^(e − 150).
const EXPONENT_BIAS = 150i;

struct Encoding {
    rounding: Key,
    // Number of the rounding block of thread 0, low word first.
    first_block: vec2<u32>,
    // Words of that block that belong to earlier coordinates.
    skip: u32,
    // Number of coordinates.
    coordinates: u32,
    // Index of the first coordinate in `update`.
    update_start: u32,
    // Index of its first word in `vector`.
    vector_start: u32,
    // The factor `mantissa · 2^−shift`, and C, as in InputScale.
    mantissa: u32,
    shift: i32,
    clip_bits: u32,
}

struct Met {
    // Number of coordinates above C.
    clipped: atomic<u32>,
    // The complement of the index of the first coordinate that is not finite, or 0.
    non_finite: atomic<u32>,
}

@group(0) @binding(0) var<uniform> encoding: Encoding;
@group(0) @binding(1) var<storage, read> update: array<u32>;
@group(0) @binding(2) var<storage, read_write> vector: array<u32>;
@group(0) @binding(3) var<storage, read_write> met: Met;

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let thread = thread_index(group, groups, local);
    // Before coordinate 0 the index wraps, and so exceeds the number of coordinates.
    let first = 16u * thread - encoding.skip;
    if first >= encoding.coordinates && thread > 0u {
        return;
    }
    let random = chacha20(encoding.rounding, block_after(encoding.first_block, thread));
    let clipped = encode_row(first, random.a)
        + encode_row(first + 4u, random.b)
        + encode_row(first + 8u, random.c)
        + encode_row(first + 12u, random.d);
    if clipped > 0u {
        atomicAdd(&met.clipped, clipped);
    }
}

// Encodes four coordinates; gives the number of them that were clipped.
fn encode_row(index: u32, random: vec4<u32>) -> u32 {
    return encode(index, random.x)
        + encode(index + 1u, random.y)
        + encode(index + 2u, random.z)
        + encode(index + 3u, random.w);
}

// Encodes one coordinate, if it exists; gives 1 if it was clipped.
fn encode(index: u32, random: u32) -> u32 {
    if index >= encoding.coordinates {
        return 0u;
    }
    let signed_bits = update[encoding.update_start + index];
    var bits = signed_bits & MAGNITUDE_MASK;
    if bits >= INFINITY_BITS {
        atomicMax(&met.non_finite, ~index);
        bits = 0u;
    }
    let clipped = bits > encoding.clip_bits;
    var word = magnitude(min(bits, encoding.clip_bits), random);
    if signed_bits > MAGNITUDE_MASK {
        word = negate(word);
    }
    if wide {
        let start = encoding.vector_start + 2u * index;
        vector[start] = word.x;
        vector[start + 1u] = word.y;
    } else {
        vector[encoding.vector_start + index] = word.x;
    }
    return u32(clipped);
}

// The magnitude with the given bits, scaled and rounded; low word first.
fn magnitude(bits: u32, random: u32) -> vec2<u32> {
    let field = bits >> FRACTION_FIELD_BITS;
    // A subnormal number has the exponent of field 1 and no implicit bit.
    let mantissa = (bits & FRACTION_FIELD) | (u32(field > 0u) << FRACTION_FIELD_BITS);
    let exponent = i32(max(field, 1u)) - EXPONENT_BIAS;

    let product = multiply(mantissa, encoding.mantissa);
    // The integer part above 32 bits of fraction, lowest word first.
    let fixed = shift_right(vec3(0u, product), u32(encoding.shift - exponent));
    let carry = u32(fixed.x + random < random);
    let low = fixed.y + carry;
    return vec2(low, fixed.z + u32(low < carry));
}

// Three words, lowest first, shifted right by any number of bits.
fn shift_right(words: vec3<u32>, bits: u32) -> vec3<u32> {
    var moved = words;
    if bits >= 96u {
        moved = vec3(0u);
    } else if bits >= 64u {
        moved = vec3(words.z, 0u, 0u);
    } else if bits >= 32u {
        moved = vec3(words.yz, 0u);
    }
    let within = bits % 32u;
    // In two steps, because a shift by 32 is not defined.
    let from_above = (vec3(moved.yz, 0u) << vec3(1u)) << vec3(31u - within);
    return (moved >> vec3(within)) | from_above;
}
