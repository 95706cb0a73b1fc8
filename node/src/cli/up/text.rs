//! What `up` prints for people.

use std::io::Write as _;

use super::settings;
use crate::{
    config::{self, Config},
    home::Home,
    term::inert,
};

/// Prints what to do next. To standard error, because standard output is for programs.
pub(super) fn guide(home: &Home, config: &Config, new: bool) {
    let given = home.flag();
    let mut text = String::new();
    if new {
        text.push_str(&format!(
            "Created a new identity in {}, with the name {} (`bitchat{given} config set name NAME` changes it).\n",
            home.root().display(),
            inert(&config.name)
        ));
    }
    if let Ok(Some(proxy)) = settings::proxy(config.proxy.as_deref()) {
        text.push_str(&format!(
            "All traffic goes through the proxy {proxy}; while it does not work, nothing is sent. `bitchat{given} status` shows its state.\n"
        ));
    }
    if config::paths(&config.paths).is_hidden() {
        text.push_str(
            "Your address is hidden from members: traffic with them goes only through the relays that the channels' files name \
             (`channel create --relay`).\n",
        );
    }
    text.push_str(&format!(
        "The node is running. Leave it open, and in another terminal:
  bitchat{given} channel create friends --out friends.chat                 create a channel for your friends
  bitchat{given} channel join friends.chat                                 or join theirs
  bitchat{given} send friends \"Hello!\"                                     send a message
  bitchat{given} log friends --follow                                      read the messages as they arrive
`bitchat --help` lists all commands. Ctrl-C stops the node.\n"
    ));
    let _ = std::io::stderr().write_all(text.as_bytes());
}
