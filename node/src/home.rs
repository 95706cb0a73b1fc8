//! The home folder of one profile: identity key, settings, database, API token, and the lock that keeps two nodes from
//! sharing it. Only its owner can read it.

use std::path::{Path, PathBuf};

use bitchat_actors::node::RELAY_KEYS;
use bitchat_wire::identity::{IdentityId, IdentityKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{config::Config, error::Failure, os};

/// The largest identity file, in bytes: 64 hexadecimal digits and a line break, with room to spare.
const IDENTITY_CAP: u64 = 128;
/// The largest `relay.key`, in bytes.
const RELAY_CAP: u64 = 256;
/// The largest `api.token`, in bytes: 64 hexadecimal digits, with room to spare.
const TOKEN_CAP: u64 = 128;
/// The largest `config.toml`, in bytes.
const CONFIG_CAP: u64 = 64 * 1024;
/// The largest `node.json`, in bytes.
const NODE_CAP: u64 = 4 * 1024;

/// A home folder, which may not exist yet.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// What a running node writes to `node.json` for the commands that need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The URL of the local API, `http://127.0.0.1:PORT`.
    pub api: String,
    /// The process id.
    pub pid: u32,
    /// The UDP port.
    pub port: u16,
}

impl Home {
    /// Finds the home: the given one (a flag or `BITCHAT_HOME`), otherwise `$XDG_DATA_HOME/bitchat`, otherwise
    /// `~/.local/share/bitchat`.
    pub fn find(given: Option<&Path>) -> Result<Self, Failure> {
        Self::choose(
            given,
            std::env::var_os("XDG_DATA_HOME").map(PathBuf::from),
            std::env::home_dir(),
        )
    }

    fn choose(
        given: Option<&Path>,
        xdg: Option<PathBuf>,
        user: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let root = if let Some(given) = given.filter(|p| !p.as_os_str().is_empty()) {
            given.to_owned()
        // The XDG specification requires that a relative path be ignored.
        } else if let Some(xdg) = xdg.filter(|p| p.is_absolute()) {
            xdg.join("bitchat")
        } else if let Some(user) = user.filter(|p| p.is_absolute()) {
            user.join(".local/share/bitchat")
        } else {
            return Err(Failure::new(
                "no_home",
                "cannot find your home directory: choose a folder with --home DIR",
            ));
        };
        Ok(Self { root })
    }

    /// The flag that selects this home in commands shown to people: empty, or a space and `--home DIR`.
    pub fn flag(&self) -> String {
        match Self::find(None) {
            Ok(usual) if usual.root == self.root => String::new(),
            _ => format!(" --home {}", self.root.display()),
        }
    }

    /// The path of the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the database.
    pub fn database(&self) -> PathBuf {
        self.root.join("bitchat.db")
    }

    /// Creates the folder if it is missing, and closes it to other users.
    pub fn make(&self) -> Result<(), Failure> {
        os::private_dir(&self.root)
    }

    /// Takes the lock, which a node holds while it runs.
    pub fn lock(&self) -> Result<os::Lock, Failure> {
        os::lock(&self.root.join("lock"))?.ok_or_else(|| {
            Failure::new(
                "locked",
                format!(
                    "another node is running with the home {}: stop it first, or use another --home",
                    self.root.display()
                ),
            )
        })
    }

    /// Reads the settings from `config.toml` and the environment.
    pub fn config(&self) -> Result<Config, Failure> {
        Config::load(&self.config_text()?, |key| std::env::var(key).ok())
    }

    /// Reads the text of `config.toml`; empty if there is none.
    pub fn config_text(&self) -> Result<String, Failure> {
        let path = self.root.join("config.toml");
        let Some(bytes) = os::read_private(&path, CONFIG_CAP)? else {
            return Ok(String::new());
        };
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Failure::new(
                "bad_config",
                format!(
                    "{} is not UTF-8 text: correct it, or remove it for the defaults",
                    path.display()
                ),
            )
        })
    }

    /// Replaces `config.toml`.
    pub fn set_config_text(&self, text: &str) -> Result<(), Failure> {
        self.make()?;
        os::write_private(&self.root.join("config.toml"), text.as_bytes())
    }

    fn identity_path(&self) -> PathBuf {
        self.root.join("identity.key")
    }

    /// Reads the identity; `None` if there is none yet.
    pub fn identity(&self) -> Result<Option<IdentityKey>, Failure> {
        let path = self.identity_path();
        let Some(text) = os::read_private(&path, IDENTITY_CAP)? else {
            return Ok(None);
        };
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_ascii(), seed.as_mut_slice()).map_err(|_| {
            Failure::new(
                "bad_identity",
                format!(
                    "{} is damaged (expected 64 hexadecimal digits): restore it from a backup",
                    path.display()
                ),
            )
        })?;
        Ok(Some(IdentityKey::from_seed(&seed)))
    }

    /// Reads the identity; an error if there is none.
    pub fn require_identity(&self) -> Result<IdentityKey, Failure> {
        self.identity()?.ok_or_else(|| {
            Failure::new(
                "no_identity",
                format!(
                    "there is no identity in {} yet; create one with `bitchat{flag} init --name NAME`, or let `bitchat{flag} up` create it",
                    self.root.display(),
                    flag = self.flag()
                ),
            )
        })
    }

    /// Creates an identity if there is none, and writes its name to `config.toml`.
    pub fn init(&self, name: &str) -> Result<IdentityId, Failure> {
        crate::config::check_name(name)?;
        self.make()?;
        if let Some(key) = self.identity()? {
            return Err(Failure::new(
                "exists",
                format!(
                    "{} already has an identity: {}. To create another, choose another folder with --home",
                    self.root.display(),
                    key.id()
                ),
            ));
        }
        let text = crate::config::changed(&self.config_text()?, "name", Some(name))?;
        self.set_config_text(&text)?;
        // The seed comes from the system's random number generator, not from one of ours.
        let mut seed = Zeroizing::new([0; 32]);
        fill_random(seed.as_mut_slice())?;
        let mut digits = Zeroizing::new(vec![0; 65]);
        hex::encode_to_slice(seed.as_slice(), &mut digits[..64])
            .map_err(|e| Failure::new("internal", e.to_string()))?;
        digits[64] = b'\n';
        os::write_private_new(&self.identity_path(), &digits)?;
        Ok(IdentityKey::from_seed(&seed).id())
    }

    /// Reads the keys that keep a relay's PeerId the same across restarts, or creates them.
    pub fn relay_keys(&self) -> Result<Zeroizing<[u8; RELAY_KEYS]>, Failure> {
        let path = self.root.join("relay.key");
        let mut keys = Zeroizing::new([0; RELAY_KEYS]);
        match os::read_private(&path, RELAY_CAP)? {
            Some(text) => {
                hex::decode_to_slice(text.trim_ascii(), keys.as_mut_slice()).map_err(|_| {
                    Failure::new(
                        "bad_identity",
                        format!(
                            "{} is damaged: restore it from a backup, or remove it for a new PeerId",
                            path.display()
                        ),
                    )
                })?;
            }
            None => {
                fill_random(keys.as_mut_slice())?;
                let digits = Zeroizing::new(hex::encode(keys.as_slice()));
                os::write_private_new(&path, digits.as_bytes())?;
            }
        }
        Ok(keys)
    }

    /// Reads the token of the local API, or creates it.
    pub fn token(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(token) = self.known_token()? {
            return Ok(token);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(bytes.as_mut_slice())?;
        let token = Zeroizing::new(hex::encode(bytes.as_slice()));
        os::write_private(&self.root.join("api.token"), token.as_bytes())?;
        Ok(token)
    }

    /// Reads the token of the local API; `None` if there is none.
    pub fn known_token(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(bytes) = os::read_private(&self.root.join("api.token"), TOKEN_CAP)? else {
            return Ok(None);
        };
        Ok(std::str::from_utf8(&bytes)
            .ok()
            .map(str::trim)
            .filter(|t| t.len() == 64)
            .map(|t| Zeroizing::new(t.to_owned())))
    }

    /// Writes `node.json`, from which commands learn where the node is.
    pub fn set_running(&self, running: &Running) -> Result<(), Failure> {
        let bytes =
            serde_json::to_vec(running).map_err(|e| Failure::new("internal", e.to_string()))?;
        os::write_private(&self.root.join("node.json"), &bytes)
    }

    /// Removes `node.json`: the node has stopped.
    pub fn clear_running(&self) {
        let _ = std::fs::remove_file(self.root.join("node.json"));
    }

    /// Where the running node is; `None` if none is running. `node.json` counts only while the lock is held: a killed node
    /// leaves the file behind, and the token must not be sent to whatever uses the old port now.
    pub fn running(&self) -> Result<Option<Running>, Failure> {
        if !os::is_locked(&self.root.join("lock")) {
            return Ok(None);
        }
        let Some(bytes) = os::read_private(&self.root.join("node.json"), NODE_CAP)? else {
            return Ok(None);
        };
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    use rand::{TryRng as _, rngs::SysRng};
    SysRng.try_fill_bytes(bytes).map_err(|e| {
        Failure::new(
            "internal",
            format!("cannot get random bytes from the system: {e}"),
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_found_in_order() {
        let choose = |given: Option<&str>, xdg: Option<&str>, user: Option<&str>| {
            Home::choose(
                given.map(Path::new),
                xdg.map(Into::into),
                user.map(Into::into),
            )
            .map(|h| h.root.to_string_lossy().into_owned())
            .ok()
        };
        let path = |s: &str| Some(s.to_owned());
        assert_eq!(choose(Some("/g"), Some("/x"), Some("/u")), path("/g"));
        assert_eq!(choose(None, Some("/x"), Some("/u")), path("/x/bitchat"));
        assert_eq!(
            choose(None, Some("rel"), Some("/u")),
            path("/u/.local/share/bitchat")
        );
        assert_eq!(choose(None, None, None), None);
    }

    #[test]
    fn a_node_counts_only_while_it_holds_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::find(Some(temp.path())).unwrap();
        home.make().unwrap();
        let running = Running {
            api: "http://127.0.0.1:1".into(),
            pid: 1,
            port: 2,
        };
        home.set_running(&running).unwrap();
        assert_eq!(home.running().unwrap(), None);
        let lock = home.lock().unwrap();
        assert_eq!(home.running().unwrap(), Some(running));
        assert_eq!(home.lock().unwrap_err().code, "locked");
        home.clear_running();
        assert_eq!(home.running().unwrap(), None);
        drop(lock);
    }

    #[test]
    fn the_token_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::find(Some(temp.path())).unwrap();
        home.make().unwrap();
        assert!(home.known_token().unwrap().is_none());
        let token = home.token().unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(*home.token().unwrap(), *token);
    }

    #[test]
    fn a_damaged_identity_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::find(Some(temp.path())).unwrap();
        os::write_private(&home.identity_path(), b"nonsense").unwrap();
        let error = home.identity().err().unwrap();
        assert_eq!(error.code, "bad_identity");
        assert!(home.identity_path().exists());
    }
}
