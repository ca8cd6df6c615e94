//! The pattern of keys: `NAMESPACE:PART/PART…`, where a part is a text or a `{placeholder}`.

use syn::LitStr;

/// A pattern of keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) namespace: String,
    pub(crate) parts: Vec<Part>,
}

/// A part of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// An argument, and the path of fields to read from it.
    Argument(String, Vec<String>),
}

impl Pattern {
    pub(crate) fn new(literal: &LitStr) -> syn::Result<Self> {
        parse(&literal.value()).map_err(|error| syn::Error::new(literal.span(), error))
    }
}

fn parse(text: &str) -> Result<Pattern, String> {
    let before_placeholders = text.split('{').next().unwrap_or_default();
    let Some((namespace, _)) = before_placeholders.rsplit_once(':') else {
        return Err("begin the key with a namespace and `:`, as in \"user:{id}\"".to_owned());
    };
    if namespace.is_empty() || namespace.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("the namespace before `:` is empty or has white space in it".to_owned());
    }
    let parts = text[namespace.len() + 1..].split('/').map(part).collect::<Result<_, _>>()?;
    Ok(Pattern { namespace: namespace.to_owned(), parts })
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("a part of the key is empty; write a text or a `{placeholder}`".to_owned());
    }
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"{}:%".contains(c);
        return match text.chars().all(is_plain) {
            true => Ok(Part::Text(text.to_owned())),
            false if text.contains(['{', '}']) => Err(format!(
                "the part `{text}` mixes text and placeholders; separate them by `/`, as in \
                 \"user:{{id}}/profile\""
            )),
            false => Err(format!("the part `{text}` has a `:`, a `%` or white space in it")),
        };
    };
    let mut path = inner.split('.');
    let argument = path.next().unwrap_or_default();
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && name != "_"
    };
    let is_index = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_digit());
    let fields: Vec<_> = path.map(str::to_owned).collect();
    if is_name(argument) && fields.iter().all(|field| is_name(field) || is_index(field)) {
        return Ok(Part::Argument(argument.to_owned(), fields));
    }
    Err(format!(
        "`{text}` is no placeholder; write the name of an argument, as `{{id}}`, or one of its \
                 fields, as `{{user.id}}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, fields: &[&str]) -> Part {
        Part::Argument(name.to_owned(), fields.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn a_pattern_is_a_namespace_and_parts() {
        let profile = Part::Text("profile".to_owned());
        for (text, namespace, parts) in [
            ("user:{id}", "user", vec![argument("id", &[])]),
            ("app:user:{id}/profile", "app:user", vec![argument("id", &[]), profile]),
            (
                "a:{self.tenant}/{x.0.y}",
                "a",
                vec![argument("self", &["tenant"]), argument("x", &["0", "y"])],
            ),
            ("config:all", "config", vec![Part::Text("all".to_owned())]),
        ] {
            let expected = Pattern { namespace: namespace.to_owned(), parts };
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_unclear_pattern_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "begin the key with a namespace"),
            ("{id}", "begin the key with a namespace"),
            ("user/{id}", "begin the key with a namespace"),
            (":{id}", "the namespace before `:` is empty"),
            ("a b:{id}", "white space"),
            ("user:", "is empty"),
            ("user:{id}/", "is empty"),
            ("user:v{id}", "mixes text and placeholders"),
            ("user:{org}:{id}", "is no placeholder"),
            ("user:{id}x", "mixes text and placeholders"),
            ("user:{id", "mixes text and placeholders"),
            ("user:{}", "is no placeholder"),
            ("user:{id:?}", "is no placeholder"),
            ("user:{0}", "is no placeholder"),
            ("user:{_}", "is no placeholder"),
            ("user:{id}/50%", "has a `:`, a `%`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
