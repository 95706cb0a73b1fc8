//! Mentions in a text: `@` and a member's name, or its Bit Chat ID. Pure.

use bitchat_wire::{event::MAX_MENTIONS, identity::IdentityId};

use super::api::MemberView;

/// The number of `@` signs looked at in one text. A text with more is not conversation.
const MAX_SIGNS: usize = 256;

/// The members that the text mentions, each once, in their order in the text. A name counts where it stands alone, in upper
/// or lower case. Of several names that fit, the longest counts; if two members share it, both are mentioned.
pub(super) fn find(text: &str, members: &[MemberView]) -> Vec<[u8; 32]> {
    let mut found: Vec<[u8; 32]> = Vec::new();
    let signs = text
        .match_indices('@')
        .filter(|(at, _)| ends_word(text[..*at].chars().next_back()))
        .take(MAX_SIGNS);
    for (at, _) in signs {
        for who in named(&text[at + 1..], members) {
            let id = *who.as_bytes();
            if found.len() < MAX_MENTIONS && !found.contains(&id) {
                found.push(id);
            }
        }
    }
    found
}

/// The members whose name `rest` begins with.
fn named(rest: &str, members: &[MemberView]) -> Vec<IdentityId> {
    let mut best = 0;
    let mut who = Vec::new();
    for member in members {
        let id = member.id.to_string();
        for name in [member.name.as_str(), id.as_str()] {
            let len = begins(rest, name);
            if len > best {
                best = len;
                who.clear();
            }
            if len > 0 && len == best {
                who.push(member.id);
            }
        }
    }
    who
}

/// The length in bytes of `name` at the beginning of `rest`; 0 if it is not there or does not stand alone.
fn begins(rest: &str, name: &str) -> usize {
    let mut chars = rest.char_indices();
    for wanted in name.chars() {
        match chars.next() {
            Some((_, c)) if c == wanted || c.to_lowercase().eq(wanted.to_lowercase()) => {}
            _ => return 0,
        }
    }
    match chars.next() {
        _ if name.is_empty() => 0,
        None => rest.len(),
        Some((len, next)) if ends_word(Some(next)) => len,
        Some(_) => 0,
    }
}

fn ends_word(c: Option<char>) -> bool {
    c.is_none_or(|c| !c.is_alphanumeric() && c != '_')
}

#[cfg(test)]
mod tests {
    use bitchat_wire::identity::IdentityKey;

    use super::*;

    fn member(n: u8, name: &str) -> MemberView {
        MemberView {
            id: IdentityKey::from_seed(&[n; 32]).id(),
            name: name.to_owned(),
            ..MemberView::unknown(IdentityKey::from_seed(&[n; 32]).id())
        }
    }

    #[test]
    fn names_that_stand_alone() {
        let members = [
            member(1, "Ann"),
            member(2, "Ann Lee"),
            member(3, "Bob"),
            member(4, "bob"),
            member(5, ""),
            member(6, "Żółw"),
        ];
        let found = |text: &str| -> Vec<u8> {
            find(text, &members)
                .iter()
                .filter_map(|id| {
                    (1..7).find(|n| *IdentityKey::from_seed(&[*n; 32]).id().as_bytes() == *id)
                })
                .collect()
        };
        assert_eq!(found("@Ann, look"), [1]);
        assert_eq!(found("@ann lee and @ANN"), [2, 1]);
        assert!(found("@Anna @Ann_ me@Ann").is_empty());
        assert_eq!(found("(@bob) @Bob"), [3, 4]);
        assert_eq!(found("@żÓŁW!"), [6]);
        assert!(found("@").is_empty());
        assert_eq!(found(&format!("hey @{}", members[4].id)), [5]);
        assert_eq!(found(&"@@@".repeat(50_000)), []);
    }
}
