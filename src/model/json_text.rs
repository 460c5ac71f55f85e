//! A JSON value kept as the text that somebody wrote. A document of ten thousand entries is one text of a megabyte; the
//! same as values would take eight. And what teamlink does not understand goes back as it came, byte for byte.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Value, value::RawValue};

/// A JSON value as its text. Clones share it. Two are equal when they have the same value, however they are written.
#[derive(Clone, Debug)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// The value, in which whole numbers of more than 64 bits lose digits. `None` when no number of ours can hold one of its
    /// numbers, or it is nested too deeply.
    pub fn value(&self) -> Option<Value> {
        serde_json::from_str(&self.0).ok()
    }

    /// Its items, when it is a list.
    pub fn items(&self) -> Option<Vec<Self>> {
        self.0.starts_with('[').then(|| serde_json::from_str(&self.0).ok())?
    }

    /// A list of these.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        let mut text = String::from("[");
        for item in items {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&item.0);
        }
        text.push(']');
        Self(text.into())
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }
}

impl From<&Value> for JsonText {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        // Item by item, lest a long list be held as values.
        self.0 == other.0
            || match (self.items(), other.items()) {
                (Some(these), Some(those)) => these == those,
                (None, None) => self.value().is_some_and(|value| other.value() == Some(value)),
                _ => false,
            }
    }
}

impl Eq for JsonText {}

/// On one line, without blanks between its parts.
impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => value.fmt(f),
            None => f.write_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<str>::from(Box::<RawValue>::deserialize(deserializer)?).into()))
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn read(text: &str) -> JsonText {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_read_is_written_byte_for_byte() {
        let written = r#"{"a":[1.50,12345678901234567890123,  "\u00e9"],"b":1e999}"#;
        let read: BTreeMap<String, JsonText> = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
    }

    #[test]
    fn what_says_the_same_is_equal_however_it_is_written() {
        assert_eq!(read(r#"[{"b": 1, "a": "é"}]"#), read(r#"[{"a":"\u00e9","b":1}]"#));
        assert_ne!(read("[1,2]"), read("[2,1]"));
        assert_ne!(read("[1]"), read("1"));
        assert_ne!(read("1e999"), read("1e998"));
        assert_eq!(read("1e999"), read("1e999"));
    }

    #[test]
    fn a_list_is_taken_apart_and_put_together() {
        let list = read(r#"[ {"a": 1}, null,[]]"#);
        let items = list.items().unwrap();
        assert_eq!(items.len(), 3);
        assert!(items[1].is_null());
        assert_eq!(JsonText::list(items), list);
        assert_eq!(JsonText::list([]), JsonText::from(&json!([])));
        assert_eq!(read(r#"{"a": [1]}"#).items(), None);
    }

    #[test]
    fn it_is_shown_on_one_line() {
        assert_eq!(read("{\n  \"a\": [1,\n 2]\n}").to_string(), r#"{"a":[1,2]}"#);
    }
}
