//! Pieces of text that several commands print.

use crate::term::inert;

/// Characters of an id that tell it from others, for a person.
const SHORT: usize = 12;

/// The beginning of an id.
pub(super) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// A person's name, or the beginning of the id if there is no name.
pub(super) fn who(name: &str, id: &str) -> String {
    match name {
        "" => short(id).to_owned(),
        name => inert(name),
    }
}

/// `3 s`, `2 min`, `1 h 5 min` or `2 d 3 h`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Where a channel file that was written goes next.
pub(super) fn wrote(path: &std::path::Path) -> String {
    format!(
        "wrote {}: give it only to people who may join",
        path.display()
    )
}
