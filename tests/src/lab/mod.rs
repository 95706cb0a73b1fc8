//! The network lab: kernel namespaces with real NATs, firewalls and proxies between them, a tracker on the public side,
//! and lines with latency ([`Lab`], [`Kind`]). It takes root, `ip`, `nft`, and python3 for the switch.
//!
//! A test calls [`enter`] first, which runs it again inside its own namespaces: however the test ends, its networks and
//! processes end with it.

mod capture;
mod kind;
mod namespace;
mod network;
mod node;
mod portmap;

use std::process::Command;

pub use capture::Capture;
pub use kind::{Kind, OWN_PORT_OFFSET};
pub use namespace::Namespace;
pub use network::{Lab, PORT, Side};
pub use node::{LabNode, path};
pub use portmap::{PortMapper, Speaks};

/// Set for the run inside.
const INSIDE: &str = "BITCHAT_LAB_INSIDE";

/// Whether this is the run inside the namespaces, so that the lab can be built. If not, the run inside has succeeded when
/// this returns; or the test was skipped, which is recorded, because only root can run it.
///
/// # Panics
/// When the run inside failed.
pub fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        namespace::prepare();
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        crate::skip::skip_named(test, "only root can make the lab's networks");
        return false;
    }
    // Builds the program, if necessary, while there is still a network.
    crate::process::binary();
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => panic!("which program is this? {error}"),
    };
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--"])
        .arg(program)
        .args([
            "--exact",
            test,
            "--nocapture",
            "--test-threads=1",
            "--include-ignored",
        ])
        .env(INSIDE, "1")
        .status();
    match status {
        Ok(status) => assert!(status.success(), "{test}: {status}"),
        Err(error) => panic!("unshare, of util-linux: {error}"),
    }
    false
}
