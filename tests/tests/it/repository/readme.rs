//! What the README shows works.

use std::fs;

use fl_tests::deployed::{Consortium, Process, Signal, fl_relay};
use fl_tests::workspace::root;

#[test]
fn the_configuration_files_in_the_readme_hold() {
    let consortium = Consortium::found("a,b,c,d", &[]);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let samples: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!samples.is_empty());
    for sample in samples {
        let text = sample.split("```").next().unwrap();
        let table: toml::Table = text.parse().unwrap();
        // Each says for which command it is.
        assert!(text.contains("for `fl-relay serve"), "{text}");
        fs::write(consortium.path().join("sample.toml"), text).unwrap();
        // The ports are the machine's, not the test's. A flag wins over the file.
        let mut serve = fl_relay();
        serve
            .current_dir(consortium.path())
            .env("XDG_STATE_HOME", consortium.path())
            .args(["serve", "--config", "sample.toml"]);
        serve.args(["--listen", "127.0.0.1:0", "--dashboard", "127.0.0.1:0"]);
        let relay = Process::start("relay", serve);
        let rounds = table["rounds"].as_integer().unwrap();
        relay.line(&format!("serving {rounds} rounds on 127.0.0.1:"));
        let dashboard = relay.line("the dashboard is http://127.0.0.1:");
        assert!(!dashboard.ends_with(table["dashboard"].as_str().unwrap()));
        relay.signal(Signal::TERM);
        relay.ended().succeeded();
    }
}
