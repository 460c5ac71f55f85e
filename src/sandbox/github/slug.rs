//! How GitHub makes a team's slug from its name, as far as it is documented: special characters are replaced,
//! letters lowercased, spaces become `-`: `My TEam Näme` → `my-team-name`.

/// The slug of a name; empty if nothing of it can be kept.
pub(crate) fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        match plain(letter) {
            "" if slug.ends_with('-') || slug.is_empty() => {}
            "" => slug.push('-'),
            kept => slug.push_str(kept),
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// The ASCII letters for a lowercase character, or nothing.
fn plain(letter: char) -> &'static str {
    const ASCII: &str = "0123456789_abcdefghijklmnopqrstuvwxyz";
    if let Some(at) = ASCII.find(letter) {
        return &ASCII[at..=at];
    }
    match letter {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ő' => "o",
        'ř' => "r",
        'ś' | 'š' | 'ş' => "s",
        'ť' | 'ţ' => "t",
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn follows_the_documented_example_and_its_neighbours() {
        for (name, expected) in [
            ("My TEam Näme", "my-team-name"),
            ("core", "core"),
            ("Ops & SRE (EU)", "ops-sre-eu"),
            ("  --x--  ", "x"),
            ("snake_case.v2", "snake_case-v2"),
            ("Straße/Œuvre", "strasse-oeuvre"),
            ("a\0b", "a-b"),
            ("日本", ""),
        ] {
            assert_eq!(slug(name), expected, "{name:?}");
        }
    }
}
