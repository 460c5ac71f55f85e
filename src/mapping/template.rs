//! Templates of Datadog handles, and which handles Datadog can have.

/// A handle with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Slug,
    Org,
    Capture(usize),
}

impl Template {
    /// Compiles a template for a pattern that gives this many captures; the error says what is wrong.
    pub(super) fn new(template: &str, captures: usize) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, behind) = rest.split_at(open);
            let inner = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
            let Some((name, behind)) = inner else { return Err("its braces do not pair".to_owned()) };
            parts.push(Part::Text(text.to_lowercase()));
            parts.push(match (name, name.parse()) {
                ("slug", _) => Part::Slug,
                ("org", _) => Part::Org,
                (_, Ok(number)) if (1..=captures).contains(&number) => Part::Capture(number - 1),
                (_, Ok(number)) => {
                    return Err(format!(
                        "`{{{number}}}` asks for more than the {captures} `*` of its pattern"
                    ));
                }
                _ => return Err(format!("`{{{name}}}` is no placeholder")),
            });
            rest = behind;
        }
        parts.push(Part::Text(rest.to_lowercase()));
        parts.retain(|part| *part != Part::Text(String::new()));

        let texts =
            parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
        match texts.flat_map(|text| text.chars()).find(|c| !can_hold(*c)) {
            Some(odd) => Err(format!("a handle cannot hold {odd:?}")),
            None if parts.is_empty() => Err("it is empty".to_owned()),
            None => Ok(Self(parts)),
        }
    }

    /// The handle for a team, lower-cased when these are.
    pub(super) fn fill(&self, org: &str, slug: &str, captures: &[&str]) -> String {
        let mut handle = String::with_capacity(slug.len());
        for part in &self.0 {
            handle += match part {
                Part::Text(text) => text,
                Part::Slug => slug,
                Part::Org => org,
                Part::Capture(index) => captures.get(*index).copied().unwrap_or_default(),
            };
        }
        handle
    }
}

/// Datadog: handles are made of `a-z 0-9 . _ - : /`.
fn can_hold(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | ':' | '/')
}

/// Why no Datadog team can have this handle. GitHub slugs fit mostly: they may end in `_`, and be longer.
pub(super) fn impossible(handle: &str) -> Option<&'static str> {
    if handle.is_empty() {
        Some("it is empty")
    } else if handle.len() > 195 {
        Some("it is longer than 195 characters")
    } else if handle.ends_with('_') {
        Some("it ends with `_`")
    } else if !handle.chars().all(can_hold) {
        Some("a handle holds only `a-z 0-9 . _ - : /`")
    } else {
        None
    }
}
