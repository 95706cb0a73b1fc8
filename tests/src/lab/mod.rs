//! The network lab: namespaces of the kernel's with real NATs, firewalls and proxies between them, a tracker on the
//! public side, and a line that takes its time ([`Lab`], [`Kind`]). It takes root, `ip`, `nft`, and python3 for the switch.
//!
//! A test calls [`enter`] first, which runs it again inside namespaces of its own: whatever becomes of the test, its
//! networks and processes end with it.

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

/// Whether the lab can be built now, since this is the run inside. If not, that run is over when this returns, and was
/// good; or there was none, for want of root, which it says.
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
    // The program is built, if it must be, while there is still a network.
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
