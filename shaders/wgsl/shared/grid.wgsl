// Which workgroup and which thread of a two-dimensional grid this is.

const WORKGROUP_SIZE = 64u;

// One dimension of a dispatch ends at 65,535 workgroups, so large grids are two-dimensional.
fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

fn thread_index(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return group_index(group, groups) * WORKGROUP_SIZE + local;
}
