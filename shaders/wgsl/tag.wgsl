// Inner products of a vector, taken as signed integers, with secret coefficients, modulo p = 2^61 − 1, twice. A workgroup
// takes one run of elements. The coefficients repeat after a block of 65,536 elements, which is a whole number of runs,
// so what is left to the host is to weigh each run with the coefficient of its block.

// Terms of one thread. The sum of so many products, each below 2^61 · 2^63, fits in 128 bits.
const TERMS = 16u;
const RUN = TERMS * WORKGROUP_SIZE;
const BLOCK_ELEMENTS = 65536u;
const SIGN_BIT = 0x80000000u;
// The words of p, which is all ones.
const MODULUS = vec2<u32>(0xffffffffu, 0x1fffffffu);

struct Tagging {
    // Index, in its block, of the first element.
    first: u32,
    // Number of elements.
    elements: u32,
}

@group(0) @binding(0) var<uniform> tagging: Tagging;
@group(0) @binding(1) var<storage, read> vector: array<u32>;
// A pair of numbers below p for each element of a block, low words first.
@group(0) @binding(2) var<storage, read> beta: array<vec4<u32>>;
// The pair of inner products of each run, below p.
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<u32>>;

var<workgroup> sums: array<vec4<u32>, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn tag(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let run = group_index(group, groups);
    let start = (tagging.first / RUN + run) * RUN;
    var sum_a = vec4(0u);
    var sum_b = vec4(0u);
    for (var term = 0u; term < TERMS; term++) {
        let position = start + term * WORKGROUP_SIZE + local;
        // Before the first element the index wraps, and so exceeds the number of elements.
        let index = position - tagging.first;
        if index < tagging.elements {
            var value = load(index);
            var pair = beta[position % BLOCK_ELEMENTS];
            if value.y >= SIGN_BIT {
                value = negate(value);
                // p less the coefficients, because p is all ones.
                pair ^= MODULUS.xyxy;
            }
            sum_a = add_product(sum_a, value, pair.xy);
            sum_b = add_product(sum_b, value, pair.zw);
        }
    }

    sums[local] = vec4(reduce(sum_a), reduce(sum_b));
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if local < width {
            let other = sums[local + width];
            sums[local] = vec4(
                add_modulo(sums[local].xy, other.xy),
                add_modulo(sums[local].zw, other.zw),
            );
        }
    }
    // Not those in excess, which begin after the last element.
    if local == 0u && start < tagging.first + tagging.elements {
        partials[run] = sums[0];
    }
}

// An element, with its sign extended to two words; low word first.
fn load(index: u32) -> vec2<u32> {
    if wide {
        return vec2(vector[2u * index], vector[2u * index + 1u]);
    }
    let word = vector[index];
    return vec2(word, select(0u, 0xffffffffu, word >= SIGN_BIT));
}

// `sum + value · coefficient`, which fits in four words.
fn add_product(sum: vec4<u32>, value: vec2<u32>, coefficient: vec2<u32>) -> vec4<u32> {
    var total = add_words(sum, vec4(multiply(value.x, coefficient.x), 0u, 0u));
    total = add_words(total, vec4(0u, multiply(value.x, coefficient.y), 0u));
    if wide {
        total = add_words(total, vec4(0u, multiply(value.y, coefficient.x), 0u));
        total = add_words(total, vec4(0u, 0u, multiply(value.y, coefficient.y)));
    }
    return total;
}

// The sum of two numbers of four words, lowest first, which fits.
fn add_words(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    var sum = a + b;
    // Where a word overflowed it is now less than what was added to it, and a carry makes all ones overflow.
    let over = vec4<u32>(sum < b);
    let y = sum.y + over.x;
    let z_carry = over.y + u32(y < over.x);
    let z = sum.z + z_carry;
    let w_carry = over.z + u32(z < z_carry);
    return vec4(sum.x, y, z, sum.w + w_carry);
}

// A number of four words modulo p: 2^61 is 1, so its parts of 61 bits add up.
fn reduce(words: vec4<u32>) -> vec2<u32> {
    let low = words.xy & MODULUS;
    let middle = ((words.yz >> vec2(29u)) | (words.zw << vec2(3u))) & MODULUS;
    let high = vec2(words.w >> 26u, 0u);
    return add_modulo(add_modulo(low, middle), high);
}

// The sum modulo p of two numbers up to p. It is below p, unless both are p.
fn add_modulo(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    let sum = vec2(low, a.y + b.y + u32(low < b.x));
    // One more than a sum from p on has bit 61, and without it is the sum less p.
    let next = vec2(sum.x + 1u, sum.y + u32(sum.x == 0xffffffffu));
    return select(sum, next & MODULUS, next.y > MODULUS.y);
}
