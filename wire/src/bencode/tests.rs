use super::*;

const STRICT: Limits = Limits {
    depth: 8,
    values: 64,
    canonical: true,
};
const LENIENT: Limits = Limits {
    canonical: false,
    ..STRICT
};

#[test]
fn accepts_canonical_values() {
    for ok in [
        "i0e",
        "i-1e",
        "i42e",
        "0:",
        "3:abc",
        "le",
        "de",
        "li1e1:ae",
        "d1:a0:1:bi2ee",
        "d0:le1:adee",
        "d1:a1:b2:aale1:bdee",
    ] {
        assert_eq!(scan(ok.as_bytes(), STRICT), Ok(ok.len()), "{ok}");
    }
}

#[test]
fn reports_the_offset_of_syntax_errors() {
    for (bad, at) in [
        ("", 0),
        ("<html>", 0),
        ("e", 0),
        ("i", 0),
        ("ie", 0),
        ("i-e", 0),
        ("i+1e", 0),
        ("i1", 0),
        ("i1x", 0),
        ("l", 1),
        ("l1:a", 4),
        ("1", 0),
        ("1:", 0),
        ("2:a", 0),
        ("-1:a", 0),
        ("d1:ae", 4),
        ("di1ei2ee", 1),
        ("d1:a", 4),
        ("dle1:ae", 1),
        (":", 0),
        ("18446744073709551615:a", 0),
        ("18446744073709551616:a", 0),
        ("99999999999999999999999999:a", 0),
        ("li1e99:abe", 4),
    ] {
        assert_eq!(
            scan(bad.as_bytes(), STRICT),
            Err(BencodeError::Syntax(at)),
            "{bad}"
        );
        assert_eq!(
            scan(bad.as_bytes(), LENIENT),
            Err(BencodeError::Syntax(at)),
            "{bad}"
        );
    }
}

#[test]
fn only_the_strict_mode_refuses_what_is_not_canonical() {
    for (bad, at) in [
        ("i-0e", 0),
        ("i00e", 0),
        ("i01e", 0),
        ("i-01e", 0),
        ("01:a", 0),
        ("00:", 0),
        ("d1:b0:1:a0:e", 6),
        ("d1:a0:1:a0:e", 6),
        ("d2:aa0:1:a0:e", 7),
        ("ld1:ai1e1:ai2eee", 8),
        ("d01:ai1ee", 1),
    ] {
        assert_eq!(
            scan(bad.as_bytes(), STRICT),
            Err(BencodeError::NotCanonical(at)),
            "{bad}"
        );
        assert_eq!(scan(bad.as_bytes(), LENIENT), Ok(bad.len()), "{bad}");
    }
    assert_eq!(scan(b"i1e\r\n", STRICT), Err(BencodeError::Trailing(2)));
    assert_eq!(scan(b"i1e\r\n", LENIENT), Ok(3));
}

#[test]
fn bounds_depth_and_values() {
    let nested = |n: usize| format!("{}{}", "l".repeat(n), "e".repeat(n));
    assert_eq!(scan(nested(8).as_bytes(), STRICT), Ok(16));
    assert_eq!(
        scan(nested(9).as_bytes(), STRICT),
        Err(BencodeError::TooDeep(8))
    );
    let wide = |n: usize| format!("l{}e", "0:".repeat(n));
    assert_eq!(scan(wide(63).as_bytes(), STRICT), Ok(128));
    assert_eq!(
        scan(wide(64).as_bytes(), STRICT),
        Err(BencodeError::TooMany(64))
    );
    // keys count as well
    let dictionary = "d1:ai1e1:bi1ee";
    assert_eq!(
        scan(
            dictionary.as_bytes(),
            Limits {
                values: 5,
                ..STRICT
            }
        ),
        Ok(14)
    );
    assert_eq!(
        scan(
            dictionary.as_bytes(),
            Limits {
                values: 4,
                ..STRICT
            }
        ),
        Err(BencodeError::TooMany(4))
    );
}

#[test]
fn a_hundred_thousand_levels_are_refused_on_a_tiny_stack() {
    let checks = || {
        for open in ["l", "d1:a"] {
            let deep = open.repeat(100_000);
            assert_eq!(scan(deep.as_bytes(), STRICT), Err(BencodeError::TooDeep(8)));
            let unlimited = Limits {
                depth: usize::MAX,
                values: usize::MAX,
                canonical: true,
            };
            assert_eq!(
                scan(deep.as_bytes(), unlimited),
                Err(BencodeError::Syntax(deep.len()))
            );
            let _ = raw_value(format!("d1:a{deep}").as_bytes(), b"b");
        }
    };
    let small = std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(checks);
    small.expect("a thread").join().expect("no overflow");
}

#[test]
fn finds_raw_values() {
    let bytes = b"d1:ali1ei2ee4:infod1:xd1:yi1eee1:z3:abce";
    assert_eq!(scan(bytes, STRICT), Ok(bytes.len()));
    assert_eq!(raw_value(bytes, b"a"), Some(&b"li1ei2ee"[..]));
    assert_eq!(raw_value(bytes, b"info"), Some(&b"d1:xd1:yi1eee"[..]));
    assert_eq!(
        raw_value(bytes, b"z").and_then(byte_string),
        Some(&b"abc"[..])
    );
    assert_eq!(
        raw_value(bytes, b"x"),
        None,
        "only the top level is searched"
    );
    assert_eq!(entries(bytes).count(), 3);
    assert_eq!(raw_value(b"l1:ae", b"a"), None);
    assert_eq!(byte_string(b"3:abcd"), None);
    assert_eq!(byte_string(b"i3e"), None);
}
