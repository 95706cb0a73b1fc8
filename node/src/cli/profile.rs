//! `profile`: the user's profile in all channels.

use std::{io::Read as _, path::PathBuf};

use bitchat_wire::event::MAX_PICTURE;
use clap::Subcommand;

use super::out::Out;
use crate::{
    client::Client,
    error::Failure,
    home::Home,
    shapes::{NewProfile, Profile},
    term::inert,
};

/// Show or change your profile in all channels
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show your profile
    #[command(after_help = "Example:\n  bitchat profile show")]
    Show,
    /// Set your status line; an empty one removes it
    #[command(
        after_help = "Examples:\n  bitchat profile status \"At sea until June\"\n  bitchat profile status \"\""
    )]
    Status {
        /// At most 256 bytes
        line: String,
    },
    /// Set or remove your picture
    #[command(
        after_help = "Examples:\n  bitchat profile picture me.png\n  bitchat profile picture --remove"
    )]
    Picture {
        /// A PNG, JPEG or WebP file of at most 49,152 bytes
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        file: Option<PathBuf>,
        /// Remove it
        #[arg(long)]
        remove: bool,
    },
}

impl Command {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let profile = match self {
            Self::Show => client.profile().await?,
            Self::Status { line } => client.set_profile(&NewProfile { status: line }).await?,
            Self::Picture { file: None, .. } => client.remove_picture().await?,
            Self::Picture {
                file: Some(file), ..
            } => {
                let mut bytes = Vec::new();
                std::fs::File::open(&file)
                    // One more shows that it is too large.
                    .and_then(|file| file.take(MAX_PICTURE as u64 + 1).read_to_end(&mut bytes))
                    .map_err(|e| Failure::io("read", &file, &e))?;
                client.set_picture(bytes).await?
            }
        };
        out.show(&profile, text)
    }
}

fn text(profile: &Profile) -> String {
    let status = match profile.status.as_str() {
        "" => "none".to_owned(),
        line => inert(line),
    };
    format!(
        "{} is {}\nstatus   {status}\npicture  {}",
        inert(&profile.name),
        profile.id,
        profile.picture.as_deref().unwrap_or("none")
    )
}
