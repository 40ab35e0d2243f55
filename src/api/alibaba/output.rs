//! One value as JSON or as XML.

use serde_json::Value;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `text/xml`.
    Xml,
}

impl Format {
    /// The content type, exactly as the newer client compares it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=utf-8",
            Self::Xml => "text/xml;charset=utf-8",
        }
    }

    /// The text of a value whose root element is `root`.
    pub fn text(self, root: &str, value: &Value) -> String {
        match self {
            Self::Json => value.to_string(),
            Self::Xml => {
                let mut text = String::from("<?xml version='1.0' encoding='UTF-8'?>");
                element(&mut text, root, value);
                text
            }
        }
    }
}

/// A list is its element's name again and again: `{"Items": {"Task": [a, b]}}` is two `Task` in an `Items`.
fn element(text: &mut String, name: &str, value: &Value) {
    if let Value::Array(list) = value {
        list.iter().for_each(|value| element(text, name, value));
        return;
    }
    text.extend(["<", name, ">"]);
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| element(text, name, value)),
        Value::String(plain) => plain.chars().for_each(|c| match c {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            '"' => text.push_str("&quot;"),
            // XML knows no other control character.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => text.push('\u{fffd}'),
            c => text.push(c),
        }),
        Value::Null | Value::Array(_) => {}
        Value::Bool(_) | Value::Number(_) => *text += &value.to_string(),
    }
    text.extend(["</", name, ">"]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_xml_say_the_same() {
        let value = json!({"Items": {"Task": [{"Id": "1"}, {"Id": "a<&\"\u{1}"}]}, "Count": 2, "Is": true});
        assert_eq!(
            Format::Xml.text("R", &value),
            "<?xml version='1.0' encoding='UTF-8'?><R><Count>2</Count><Is>true</Is><Items><Task><Id>1</Id></Task><Task>\
             <Id>a&lt;&amp;&quot;\u{fffd}</Id></Task></Items></R>"
        );
        assert_eq!(Format::Json.text("R", &value), value.to_string());
    }
}
