//! What the examples have in common.

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use bitchat_actors::{Node, wire::identity::IdentityKey};

/// Starts a node that keeps its identity and its log in the folder `home`.
pub(crate) async fn start(home: &Path, name: &str) -> Result<Node, Box<dyn Error>> {
    fs::create_dir_all(home)?;
    let database = home.join(name.to_lowercase()).with_extension("db");
    let node = Node::builder(database, identity(home)?).name(name);
    Ok(node.start().await?)
}

/// The identity: a secret key, created at the first start.
fn identity(home: &Path) -> Result<IdentityKey, Box<dyn Error>> {
    let path = home.join("identity.key");
    if !path.exists() {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let key = IdentityKey::generate(&mut rand::rng());
        options.open(&path)?.write_all(key.seed().as_slice())?;
    }
    let seed: [u8; 32] = fs::read(&path)?.as_slice().try_into()?;
    Ok(IdentityKey::from_seed(&seed))
}
