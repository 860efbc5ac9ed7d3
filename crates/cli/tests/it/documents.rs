//! `docs/errors.md` explains every stable code.

#[test]
fn every_code_is_explained() {
    let page = include_str!("../../../../docs/errors.md");
    let explained = |word: &str| page.contains(&format!("| `{word}` |"));
    let missing: Vec<_> = control::Code::ALL.iter().map(|c| c.word()).filter(|w| !explained(w)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    use ports::ErrorKind as K;
    let kinds = [
        K::Unreachable,
        K::TimedOut,
        K::Authentication,
        K::HostKey,
        K::Permission,
        K::NotFound,
        K::AlreadyExists,
        K::NoSpace,
        K::Name,
        K::Changed,
        K::Corrupt,
        K::Unsupported,
        K::Throttled,
        K::Interrupted,
        K::Protocol,
        K::Invalid,
        K::Stopped,
        K::Internal,
    ];
    for kind in kinds {
        let word = serde_json::to_value(kind).unwrap();
        assert!(explained(word.as_str().unwrap()), "{word}");
    }
}
