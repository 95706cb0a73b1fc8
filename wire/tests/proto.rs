//! `src/proto/generated.rs` matches `proto/bitchat.proto`. `UPDATE=1 cargo test -p bitchat-wire --test proto` regenerates it.

use std::{env, fs, path::Path};

#[test]
fn generated_code_matches_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema =
        protox::compile(["bitchat.proto"], [root.join("proto")]).expect("the schema compiles");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new()
        .out_dir(out.path())
        .bytes(["."])
        .compile_fds(schema)
        .expect("code generation");
    let fresh = fs::read_to_string(out.path().join("bitchat.v1.rs")).expect("generated file");
    let kept = root.join("src/proto/generated.rs");
    if env::var_os("UPDATE").is_some() {
        fs::write(&kept, &fresh).expect("write generated code");
    }
    let committed = fs::read_to_string(&kept).unwrap_or_default();
    assert!(
        committed == fresh,
        "src/proto/generated.rs is stale: run with UPDATE=1"
    );
}
