//! Which disguise a home has.

use crate::{
    disguise::Disguise,
    store::{Store, StoreError},
};

/// The disguise that the user asks for, else that of the last run: a client does not become another one by itself,
/// whatever a later version's default is.
pub(super) async fn kept(store: &Store, asked: Option<Disguise>) -> Result<Disguise, StoreError> {
    let kept = store.value("disguise").await?;
    let kept = kept.and_then(|name| std::str::from_utf8(&name).ok()?.parse::<Disguise>().ok());
    let disguise = asked.or(kept).unwrap_or_default();
    if kept != Some(disguise) {
        store
            .set_value("disguise", disguise.name().as_bytes())
            .await?;
    }
    Ok(disguise)
}
