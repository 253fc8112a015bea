// Subtracts and adds shares in one pass: `split`, then `sum`, without writing the vector in between.

@compute @workgroup_size(WORKGROUP_SIZE)
fn mask(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = thread_index(group, groups, local);
    if block >= span.blocks {
        return;
    }
    let number = block_after(span.first_block, block);
    var words = load(block);
    for (var i = 0u; i < shares.minus; i++) {
        words = subtract_share(words, chacha20(shares.keys[i], number));
    }
    for (var i = 0u; i < shares.plus; i++) {
        words = add_share(words, chacha20(shares.keys[shares.minus + i], number));
    }
    store(block, words);
}
