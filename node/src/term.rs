//! Makes text from strangers harmless for a terminal, and draws QR codes.
//!
//! A name or a message may hold control characters that move the cursor, bidirectional marks that reorder
//! a line, or zero-width characters that hide things. All of them are shown as escapes.

use std::fmt::Write as _;

/// Escapes every invisible or control character of a text; the result is always one line.
pub fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_hidden(c) => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// As [`inert`], but keeps the line breaks and indents all lines but the first, so that none can pass for a line of
/// another author.
pub fn inert_lines(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(inert).collect();
    lines.join(&format!("\n{indent}"))
}

/// Whether a character is a control character, a bidirectional control or of zero width. The two variation selectors
/// that choose between text and emoji style are allowed.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fe00}'..='\u{fe0d}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Draws a link as a QR code of half blocks; `None` if it is too long for one.
pub fn qr(link: &str) -> Option<String> {
    use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
    let code = QrCode::with_error_correction_level(link, EcLevel::L).ok()?;
    Some(
        code.render::<Dense1x2>()
            // Most terminals are dark, so the light modules must be drawn.
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .build(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attacks_are_shown() {
        assert_eq!(
            inert("\u{1b}[2J\u{1b}]0;x\u{7}"),
            "\\u{1b}[2J\\u{1b}]0;x\\u{7}"
        );
        assert_eq!(
            inert("a\u{202e}b\u{200b}c\u{9b}"),
            "a\\u{202e}b\\u{200b}c\\u{9b}"
        );
        assert_eq!(inert("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(inert("\u{e0041}"), "\\u{e0041}");
        assert_eq!(inert("Grüße, 世界 ❤\u{fe0f}"), "Grüße, 世界 ❤\u{fe0f}");
        assert_eq!(inert_lines("a\nb\u{1b}", "  "), "a\n  b\\u{1b}");
    }

    #[test]
    fn long_links_have_no_qr() {
        assert!(qr("bitchat:abc").is_some());
        assert!(qr(&"x".repeat(5_000)).is_none());
    }

    proptest! {
        #[test]
        fn nothing_hidden_comes_through(text in "\\PC*|[\\x00-\\x1f\\x7f-\\x9f\u{200b}-\u{206f}\u{feff}a]*", any in any::<String>()) {
            for t in [text, any] {
                let out = inert(&t);
                prop_assert!(!out.chars().any(|c| c.is_control() || is_hidden(c)));
                prop_assert_eq!(inert(&out), out.clone());
                if !t.chars().any(is_hidden) {
                    prop_assert_eq!(out, t);
                }
            }
        }
    }
}
