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

/// A channel as a command names it when pasted into a shell: its name if that needs no quotes, otherwise the beginning
/// of its id.
pub(super) fn pasted(name: &str, id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        name.to_owned()
    } else {
        short(id).to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let id = "0123456789abcdef";
        assert_eq!(pasted("old-friends", id), "old-friends");
        for name in ["", "a b", "$(reboot)", "-x", "`x`", "ü", "a;b"] {
            assert_eq!(pasted(name, id), "0123456789ab");
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (59, "59 s"),
            (60, "1 min"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
