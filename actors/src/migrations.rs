//! The steps of the database, which capabilities add to (`migrations/`).

/// All steps, in order; the first creates version 1 from an empty database. A step that has landed is never edited.
pub(crate) const STEPS: &[&str] = &[
    include_str!("../../migrations/0001_initial.sql"),
    include_str!("../../migrations/0002_conversation.sql"),
    include_str!("../../migrations/0003_device.sql"),
];
