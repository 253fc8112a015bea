//! Writes the seeds of every target's corpus anew. Inputs of other names are left as they are.

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in fl_fuzz::TARGETS {
        let corpus = corpora.join(target.name);
        fs::create_dir_all(&corpus)?;
        for entry in fs::read_dir(&corpus)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("seed-") {
                fs::remove_file(entry.path())?;
            }
        }
        for (name, input) in (target.seeds)() {
            fs::write(corpus.join(format!("seed-{name}")), input)?;
        }
    }
    Ok(())
}
