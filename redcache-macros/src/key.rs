//! The pattern of keys: `NAMESPACE:PART/PART…`, where a part is a text or a `{placeholder}`.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::{Ident, Index, LitStr, Member};

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

/// Return the field of a placeholder, as the source of a program names it.
pub(crate) fn member(field: &str, span: Span) -> Member {
    if let Ok(index) = field.parse() {
        return Member::Unnamed(Index { index, span });
    }
    Member::Named(match syn::parse_str::<Ident>(field) {
        Ok(_) => Ident::new(field, span),
        Err(_) => Ident::new_raw(field, span),
    })
}

fn parse(text: &str) -> Result<Pattern, String> {
    let before_placeholders = text.split('{').next().unwrap_or_default();
    let Some((namespace, _)) = before_placeholders.rsplit_once(':') else {
        return Err("begin the key with a namespace and `:`, as in \"user:{id}\"".to_owned());
    };
    let is_refused = |c: char| c.is_whitespace() || c.is_control() || c == '}';
    if namespace.is_empty() || namespace.contains(is_refused) {
        return Err(
            "the namespace before `:` is empty, or has white space or a `}` in it".to_owned()
        );
    }
    let parts = text[namespace.len() + 1..].split('/').map(part).collect::<Result<_, _>>()?;
    Ok(Pattern { namespace: namespace.to_owned(), parts })
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("a part of the key is empty; write a text or a `{placeholder}`".to_owned());
    }
    if text.contains("{{") || text.contains("}}") {
        return Err(format!(
            "the part `{text}` has a double brace, but keys have no escapes; write a placeholder \
             as `{{id}}`, and no braces in a text"
        ));
    }
    if text.matches('{').count() != text.matches('}').count() {
        return Err(format!(
            "the braces of the part `{text}` do not match; write a placeholder as `{{id}}`"
        ));
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
    let fields: Vec<_> = path.map(str::to_owned).collect();
    if is_name(argument) && fields.iter().all(|field| is_field(field)) {
        return Ok(Part::Argument(argument.to_owned(), fields));
    }
    Err(format!(
        "`{text}` is no placeholder; write the name of an argument, as `{{id}}`, or one of its \
                 fields, as `{{user.id}}`"
    ))
}

/// Return whether a text is an identifier or a keyword.
fn is_name(text: &str) -> bool {
    text != "_"
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && Ident::parse_any.parse_str(text).is_ok_and(|name| name == text)
}

/// Return whether a text can be a field: an index, or a name. These keywords cannot be raw.
fn is_field(text: &str) -> bool {
    match text.parse::<u32>() {
        Ok(index) => index.to_string() == text,
        Err(_) => is_name(text) && !["self", "Self", "super", "crate"].contains(&text),
    }
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
            ("a:{type}/{x.type}", "a", vec![argument("type", &[]), argument("x", &["type"])]),
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
            ("us}er:{id}", "or a `}` in it"),
            ("user:{id", "do not match"),
            ("user:id}", "do not match"),
            ("user:{id/name}", "do not match"),
            ("user:{{id}}", "no escapes"),
            ("user:{{id}", "no escapes"),
            ("user:{ id }", "is no placeholder"),
            ("user:{r#type}", "is no placeholder"),
            ("user:{id.}", "is no placeholder"),
            ("user:{id.self}", "is no placeholder"),
            ("user:{id.99999999999}", "is no placeholder"),
            ("user:{id.01}", "is no placeholder"),
            ("user:{id.\u{345}a}", "is no placeholder"),
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
