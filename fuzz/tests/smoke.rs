//! Every target has its file, and takes what needs no fuzzer to think of.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_target_has_a_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .expect("the targets")
        .map(|file| {
            file.expect("a file")
                .path()
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let names: BTreeSet<String> = bitchat_fuzz::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(files, names);
}

#[test]
fn targets_take_plain_bytes() {
    for (_, target) in bitchat_fuzz::TARGETS {
        for len in [0, 1, 2, 32, 93, 104, 217, 1_257, 1_337, 5_000] {
            for byte in [0, b'd', b'l', 0xff] {
                target(&vec![byte; len]);
            }
        }
    }
}
