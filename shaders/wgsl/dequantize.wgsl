// Turns a sum of encoded updates into the mean update, one coordinate a thread. No floating point: the mean is written
// as bits.

const FRACTION_FIELD_BITS = 23u;
const EXPONENT_FIELD = 0xffu;
// Exponent field of 2^0.
const EXPONENT_ONE = 127u;
const SIGN_BIT = 0x80000000u;

struct Decoding {
    // Number of coordinates.
    coordinates: u32,
    // The factor `mantissa · 2^−shift`, as in MeanScale.
    mantissa: u32,
    shift: u32,
}

@group(0) @binding(0) var<uniform> decoding: Decoding;
@group(0) @binding(1) var<storage, read> vector: array<u32>;
@group(0) @binding(2) var<storage, read_write> mean: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn dequantize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = thread_index(group, groups, local);
    if index >= decoding.coordinates {
        return;
    }
    var value: vec2<u32>;
    if wide {
        value = vec2(vector[2u * index], vector[2u * index + 1u]);
    } else {
        let word = vector[index];
        value = vec2(word, select(0u, 0xffffffffu, word >= SIGN_BIT));
    }
    let negative = value.y >= SIGN_BIT;
    let sign = select(0u, SIGN_BIT, negative);
    let magnitude = select(value, negate(value), negative);

    // The 96-bit product, lowest word first.
    let low = multiply(magnitude.x, decoding.mantissa);
    let high = multiply(magnitude.y, decoding.mantissa);
    let middle = low.y + high.x;
    let product = vec3(low.x, middle, high.y + u32(middle < high.x));
    mean[index] = divided(rounded(product), sign, decoding.shift);
}

// The nearest f32, ties to even, as bits.
fn rounded(product: vec3<u32>) -> u32 {
    let zeros = leading_zeros(product);
    if zeros == 96u {
        return 0u;
    }
    let top = shift_left(product, zeros);
    let mantissa = top.z >> 8u;
    let half = (top.z & 0x80u) != 0u;
    let more = (top.z & 0x7fu) != 0u || top.y != 0u || top.x != 0u;
    let up = half && (more || (mantissa & 1u) != 0u);
    // The implicit bit counts one into the exponent, and so does a mantissa that rounds up to the next power of two.
    let exponent = EXPONENT_ONE + 95u - zeros - 1u;
    return (exponent << FRACTION_FIELD_BITS) + mantissa + u32(up);
}

// `value · 2^−shift` with the given sign, for the bits of a `value` that is 0 or at least 1.
fn divided(bits: u32, sign: u32, shift: u32) -> u32 {
    let exponent = (bits >> FRACTION_FIELD_BITS) & EXPONENT_FIELD;
    if exponent <= shift {
        return 0u;
    }
    return sign | (bits - (shift << FRACTION_FIELD_BITS));
}

fn leading_zeros(words: vec3<u32>) -> u32 {
    if words.z != 0u {
        return countLeadingZeros(words.z);
    }
    if words.y != 0u {
        return 32u + countLeadingZeros(words.y);
    }
    return 64u + countLeadingZeros(words.x);
}

// Three words, lowest first, shifted left by fewer than 96 bits.
fn shift_left(words: vec3<u32>, bits: u32) -> vec3<u32> {
    var moved = words;
    if bits >= 64u {
        moved = vec3(0u, 0u, words.x);
    } else if bits >= 32u {
        moved = vec3(0u, words.xy);
    }
    let within = bits % 32u;
    // In two steps, because a shift by 32 is not defined.
    let from_below = (vec3(0u, moved.xy) >> vec3(1u)) >> vec3(31u - within);
    return (moved << vec3(within)) | from_below;
}
