//! Some members of an object of JSON, without keeping the others.
use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

/// The values of `names` in an object; a member that is not there is null. Checks all of the text.
pub(super) fn members(json: &str, names: &[&str]) -> Result<Vec<Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let values = deserializer.deserialize_map(Members(names))?;
    deserializer.end()?;
    Ok(values)
}

struct Members<'a>(&'a [&'a str]);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Value>, A::Error> {
        let mut values = vec![Value::Null; self.0.len()];
        while let Some(index) = map.next_key_seed(Name(self.0))? {
            match index.and_then(|index| values.get_mut(index)) {
                Some(value) => *value = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// Which of the wanted names a member has.
struct Name<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|wanted| *wanted == name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wanted_members_are_found_and_the_text_is_checked_to_its_end() {
        let json = r#" {"a": 1, "b\u0021": {"a": [2]}, "c": "x"} "#;
        let found = members(json, &["c", "missing", "a", "b!"]).unwrap();
        assert_eq!(found, [json!("x"), json!(null), json!(1), json!({"a": [2]})]);
        for broken in ["", "7", "[]", r#"{"a":1"#, r#"{"a":1} 2"#, r#"{"a":}"#, r#"{a:1}"#] {
            assert!(members(broken, &["a"]).is_err(), "{broken}");
        }
    }
}
