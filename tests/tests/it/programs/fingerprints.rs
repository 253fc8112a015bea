//! What a node shows for people to compare.

use fl_network::kit::Kit;
use fl_network::pki::public_key;
use fl_protocol::fingerprint::Fingerprint;
use fl_tests::deployed::Consortium;

use crate::support::consortium::DATA;

/// What a node shows of its consortium, its authority and its nodes when it starts.
fn shown(consortium: &Consortium, node: &str) -> [String; 3] {
    let process = consortium.node(node, "127.0.0.1:9".parse().unwrap(), DATA);
    ["of the consortium: ", "of the authority: ", "nodes: "].map(|begin| process.line(begin))
}

#[test]
fn a_node_begins_with_what_its_operator_should_compare() {
    let nodes = "a@St. Mary,b,c";
    let consortium = Consortium::found(nodes, &["--data", DATA]);
    let lines = shown(&consortium, "a");
    assert_eq!(shown(&consortium, "b"), lines);
    let kit = Kit::load(&consortium.kit("c")).unwrap();
    let authority = public_key(&kit.authority).unwrap();
    let digits = [
        Fingerprint::of_consortium(&kit.manifest),
        Fingerprint::of_authority(&authority),
    ];
    for (line, digits) in lines.iter().zip(digits) {
        assert!(line.ends_with(&format!(" {digits}")), "{line}");
    }
    let up_to = "(up to 512 examples)";
    let names = format!("nodes: a of St. Mary {up_to}, b {up_to}, c {up_to}");
    assert_eq!(lines[2], names);

    // The control: another consortium is seen to be another, though the names are the same.
    let other = shown(&Consortium::found(nodes, &["--data", DATA]), "a");
    assert!(other[0] != lines[0] && other[1] != lines[1], "{other:?}");
    assert_eq!(other[2], lines[2]);
}
