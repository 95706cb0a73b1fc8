//! The user's profile.

use reqwest::Method;

use super::Client;
use crate::{
    error::Failure,
    shapes::{NewProfile, Profile},
};

const PROFILE: [&str; 2] = ["v1", "profile"];
const PICTURE: [&str; 3] = ["v1", "profile", "picture"];

impl Client {
    /// Returns the user's profile.
    pub async fn profile(&self) -> Result<Profile, Failure> {
        self.get(&PROFILE, &[]).await
    }

    /// Changes the user's profile.
    pub async fn set_profile(&self, profile: &NewProfile) -> Result<Profile, Failure> {
        self.send_json(Method::PUT, &PROFILE, profile).await
    }

    /// Sets the user's picture: a PNG, JPEG or WebP file.
    pub async fn set_picture(&self, file: Vec<u8>) -> Result<Profile, Failure> {
        self.send_bytes(Method::PUT, &PICTURE, file).await
    }

    /// Removes the user's picture.
    pub async fn remove_picture(&self) -> Result<Profile, Failure> {
        self.remove(&PICTURE).await
    }
}
