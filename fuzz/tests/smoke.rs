//! Every target has its file, and survives simple inputs without a fuzzer.

use std::{collections::BTreeSet, fs, path::Path};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

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
fn targets_survive_plain_bytes() {
    for (_, target) in bitchat_fuzz::TARGETS {
        for len in [0, 1, 2, 32, 93, 104, 217, 1_257, 1_337, 5_000] {
            for byte in [0, b'd', b'l', 0xff] {
                target(&vec![byte; len]);
            }
        }
    }
}

/// Finds less than a fuzzer, but runs where there is none.
#[test]
fn targets_survive_noise() {
    let mut rng = StdRng::seed_from_u64(1);
    for (name, target) in bitchat_fuzz::TARGETS {
        let rounds = if name == "sync" { 100 } else { 1_000 };
        for _ in 0..rounds {
            let mut noise = vec![0; rng.random_range(0..1_500)];
            rng.fill_bytes(&mut noise);
            target(&noise);
        }
    }
}
