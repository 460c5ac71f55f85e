//! Patterns of GitHub teams. A small matcher of its own, because a rule needs what each `*` stood for, which
//! glob libraries do not tell; and quick, because every team is held against every rule.

/// A lower-cased pattern with `*` (any text) and `?` (one character), neither of which stands for `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    /// What stands before the first wildcard: it turns most candidates away at once.
    prefix: usize,
    /// Length of what stands behind the last wildcard.
    suffix: usize,
}

impl Pattern {
    /// Compiles a pattern; the error says what is wrong with it.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        if let Some(odd) = pattern.chars().find(|c| "[]{}!\\@".contains(*c) || c.is_whitespace()) {
            return Err(format!("{odd:?} cannot stand in a pattern"));
        }
        let parts: Vec<&str> = pattern.split('/').collect();
        if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
            return Err("it has not the form `org/team`".to_owned());
        }
        let text = pattern.to_lowercase();
        let prefix = text.find(['*', '?']).unwrap_or(text.len());
        let suffix = text.rfind(['*', '?']).map_or(0, |last| text.len() - last - 1);
        Ok(Self { text, prefix, suffix })
    }

    /// The text that it matches, when there is only one.
    pub(super) fn exact(&self) -> Option<&str> {
        (self.prefix == self.text.len()).then_some(self.text.as_str())
    }

    /// How many `*` it has, which is how many captures it gives.
    pub(super) fn captures(&self) -> usize {
        self.text.matches('*').count()
    }

    /// Whether it matches a lower-cased `org/slug`.
    pub(super) fn matches(&self, candidate: &str) -> bool {
        let (text, candidate) = (self.text.as_bytes(), candidate.as_bytes());
        candidate.starts_with(&text[..self.prefix])
            && candidate.ends_with(&text[text.len() - self.suffix..])
            && walk(&text[self.prefix..], &candidate[self.prefix..], &mut |_, _| ())
    }

    /// What each `*` stood for, in a candidate that it matches. Each takes as little as it can.
    pub(super) fn capture<'c>(&self, candidate: &'c str) -> Vec<&'c str> {
        let mut captures = vec![""; self.captures()];
        let (pattern, candidate) = (&self.text[self.prefix..], &candidate[self.prefix..]);
        walk(pattern.as_bytes(), candidate.as_bytes(), &mut |star, (from, to)| {
            captures[star] = &candidate[from..to];
        });
        captures
    }
}

/// The classic walk with one point to go back to, the last `*`. `seen` is told, for each `*` by its number,
/// what it stands for, and told again whenever that grows.
fn walk(pattern: &[u8], candidate: &[u8], seen: &mut impl FnMut(usize, (usize, usize))) -> bool {
    let (mut p, mut c) = (0, 0);
    // The last `*`: its number, the place behind it in the pattern, what it stands for.
    let mut back: Option<(usize, usize, usize, usize)> = None;
    while c < candidate.len() {
        match pattern.get(p) {
            Some(b'*') => {
                let number = back.map_or(0, |(number, ..)| number + 1);
                back = Some((number, p + 1, c, c));
                seen(number, (c, c));
                p += 1;
            }
            Some(b'?') if candidate[c] != b'/' => {
                p += 1;
                c += width(candidate[c]);
            }
            Some(byte) if *byte == candidate[c] && *byte != b'?' => {
                p += 1;
                c += 1;
            }
            _ => match back {
                Some((number, behind, from, to)) if candidate[to] != b'/' => {
                    // Straight to where what follows the `*` can begin.
                    let mut to = to + width(candidate[to]);
                    if let Some(next) = pattern.get(behind).filter(|next| !b"*?".contains(next)) {
                        while candidate.get(to).is_some_and(|byte| byte != next && *byte != b'/') {
                            to += 1;
                        }
                    }
                    back = Some((number, behind, from, to));
                    seen(number, (from, to));
                    (p, c) = (behind, to);
                }
                _ => return false,
            },
        }
    }
    while pattern.get(p) == Some(&b'*') {
        let number = back.map_or(0, |(number, ..)| number + 1);
        back = Some((number, p + 1, c, c));
        seen(number, (c, c));
        p += 1;
    }
    p == pattern.len()
}

/// How many bytes the character that begins with this byte has in UTF-8.
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captures(pattern: &str, candidate: &str) -> Option<Vec<String>> {
        let pattern = Pattern::new(pattern).unwrap();
        pattern.matches(candidate).then(|| pattern.capture(candidate).into_iter().map(String::from).collect())
    }

    #[test]
    fn wildcards_stand_for_text_within_one_part() {
        assert_eq!(captures("*/*", "acme/web").unwrap(), ["acme", "web"]);
        assert_eq!(captures("ACME/Platform-*", "acme/platform-eu-1").unwrap(), ["eu-1"]);
        assert_eq!(captures("acme/*-*", "acme/a-b-c").unwrap(), ["a", "b-c"]);
        assert_eq!(captures("acme/*-team", "acme/a-team-team").unwrap(), ["a-team"]);
        assert_eq!(captures("acme/team-?", "acme/team-é").unwrap(), [] as [&str; 0]);
        assert_eq!(captures("acme/*?", "acme/é").unwrap(), [""]);
        assert_eq!(captures("acme/web*", "acme/web").unwrap(), [""]);
        assert_eq!(captures("acme/**", "acme/web").unwrap(), ["", "web"]);
        assert_eq!(captures("acme/web", "acme/web").unwrap(), [] as [&str; 0]);
        for (pattern, candidate) in [
            ("acme/*", "acme2/web"),
            ("acme*/web", "acme/x/web"),
            ("acme/team-?", "acme/team-"),
            ("acme/?eb", "acme/web2"),
            ("ac?e/web", "ac/e/web"),
            ("acme/ab*b", "acme/ab"),
        ] {
            assert_eq!(captures(pattern, candidate), None, "{pattern} {candidate}");
        }
    }

    #[test]
    fn a_pattern_has_an_organisation_and_a_team() {
        for pattern in
            ["acme", "acme/", "/web", "a/b/c", "", "@acme/web", "acme/[ab]", "acme/{a,b}", "acme/a b"]
        {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn putting_the_captures_back_gives_the_candidate(
            slug_pattern in "[ab*]{1,8}", slug in "[ab]{1,8}",
        ) {
            let pattern = format!("acme/{slug_pattern}");
            let candidate = format!("acme/{slug}");
            // An independent oracle: the same pattern as a regular language, by recursion.
            fn naive(p: &[u8], c: &[u8]) -> bool {
                match p.split_first() {
                    None => c.is_empty(),
                    Some((b'*', rest)) => (0..=c.len()).any(|n| naive(rest, &c[n..])),
                    Some((byte, rest)) => c.first() == Some(byte) && naive(rest, &c[1..]),
                }
            }
            let found = captures(&pattern, &candidate);
            prop_assert_eq!(found.is_some(), naive(slug_pattern.as_bytes(), slug.as_bytes()));
            if let Some(found) = found {
                let mut found = found.into_iter();
                let back: String = pattern
                    .chars()
                    .map(|c| if c == '*' { found.next().unwrap() } else { c.to_string() })
                    .collect();
                prop_assert_eq!(back, candidate);
            }
        }
    }
}
