//! Characters that are allowed in names chosen by others, so that no name can forge the text shown around it.

/// Control characters, line and paragraph separators, and marks that change the direction of text.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether `name` has 1 to `max` bytes, is not only white space, and contains no treacherous character.
pub(crate) fn is_name(name: &str, max: usize) -> bool {
    name.len() <= max && !name.trim().is_empty() && !name.contains(is_treacherous)
}

/// Removes treacherous characters and outer white space, and cuts to `max` bytes; `None` if nothing is left.
pub(crate) fn clamp_name(name: &str, max: usize) -> Option<String> {
    let mut out = String::new();
    for c in name.trim().chars().filter(|c| !is_treacherous(*c)) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    (!out.trim().is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_lines_of_bounded_length() {
        for ok in ["a", "Ann & Bob", "日本語", "a\u{200d}b"] {
            assert!(is_name(ok, 16), "{ok:?}");
            assert_eq!(clamp_name(ok, 16).as_deref(), Some(ok));
        }
        for bad in [
            "",
            " ",
            "a\nb",
            "a\0",
            "\u{202e}gpj",
            "a\u{2066}b",
            "a\u{2028}b",
            "0123456789abcdefg",
            "\u{1b}[31m",
        ] {
            assert!(!is_name(bad, 16), "{bad:?}");
        }
        assert_eq!(clamp_name("\u{202e}a\nb ", 16).as_deref(), Some("ab"));
        assert_eq!(
            clamp_name("ééé", 5).as_deref(),
            Some("éé"),
            "cut between characters"
        );
        assert_eq!(clamp_name("\u{202e}\n ", 16), None);
        assert_eq!(clamp_name("ab c", 3).as_deref(), Some("ab"));
    }
}
