// The rings Z_{2^32} and Z_{2^64}. An element of the wide ring is two consecutive words, low first, so a row of four
// words holds four narrow elements or two wide ones.

// Whether elements have 64 bits.
override wide: bool = false;

fn add(row: vec4<u32>, other: vec4<u32>) -> vec4<u32> {
    var sum = row + other;
    if wide {
        let carries = vec2<u32>(sum.xz < other.xz);
        sum += vec4(0u, carries.x, 0u, carries.y);
    }
    return sum;
}

fn subtract(row: vec4<u32>, other: vec4<u32>) -> vec4<u32> {
    var difference = row - other;
    if wide {
        let borrows = vec2<u32>(row.xz < other.xz);
        difference -= vec4(0u, borrows.x, 0u, borrows.y);
    }
    return difference;
}

// The product of two words, low word first.
fn multiply(x: u32, y: u32) -> vec2<u32> {
    let x_low = x & 0xffffu;
    let x_high = x >> 16u;
    let y_low = y & 0xffffu;
    let y_high = y >> 16u;
    let low = x_low * y_low;
    let crosswise = x_low * y_high;
    let middle = x_high * y_low + (low >> 16u) + (crosswise & 0xffffu);
    return vec2(
        (middle << 16u) | (low & 0xffffu),
        x_high * y_high + (crosswise >> 16u) + (middle >> 16u),
    );
}

// The negative of a pair of words, low word first, in two's complement.
fn negate(pair: vec2<u32>) -> vec2<u32> {
    return vec2(~pair.x + 1u, ~pair.y + u32(pair.x == 0u));
}
