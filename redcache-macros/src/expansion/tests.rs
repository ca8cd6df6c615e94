//! Functions that the attribute serves, and refused ones, with the place of each error.

use quote::quote;

use super::*;

/// The arguments of most tests.
const ID: &str = r#"cache = CACHE, key = "user:{id}""#;

fn expand_text(attribute: &str, item: &str) -> syn::Result<TokenStream> {
    expand(attribute.parse().unwrap(), item.parse().unwrap())
}

/// Check that a function is refused for this reason, at this part of the source.
fn refused(attribute: &str, item: &str, at: &str, reason: &str) {
    let error = expand_text(attribute, item).expect_err(item);
    let text = error.to_string();
    assert!(text.contains(reason), "{item}: {text}");
    let found = error.span().source_text().unwrap_or_default();
    assert_eq!(found, at, "{item}: {text}");
}

#[test]
fn functions_of_each_form_are_served() {
    for (attribute, item) in [
        (ID, "async fn f(id: u64) -> Result<User, E> { load(id).await }"),
        (ID, "pub(crate) fn f(id: &str) -> Result<Option<User>, E> { load(id) }"),
        (ID, "async fn f(&self, id: u64) -> Result<Option<Arc<User>>, E> { self.load(id).await }"),
        (
            ID,
            "fn f(self: Arc<Self>, mut id: String, _: Db) -> anyhow::Result<Arc<User>> { todo() }",
        ),
        (
            ID,
            "async fn f<K: CacheKey>(id: K) -> std::result::Result<Vec<u8>, E> { load(id).await }",
        ),
        (ID, "async fn f(id: impl CacheKey) -> Result<Self, E> where Self: Clone { load().await }"),
        (
            r#"cache = db.cache(), key = "a:b", skip(db), crate = my::redcache"#,
            "async fn f(db: &Db) -> Result<u8, E> { db.load().await }",
        ),
        (
            r#"cache = self.cache, key = "user:{self.tenant.0}/{id}/x", ttl = "5m", jitter = 0.1,
            not_found_ttl = TTL, codec = Postcard, schema_version = 2, clearable,"#,
            "async fn f(&self, id: u64) -> Result<Option<User>, E> { self.load(id).await }",
        ),
    ] {
        let expanded =
            expand_text(attribute, item).unwrap_or_else(|error| panic!("{item}: {error}"));
        syn::parse2::<syn::ImplItemFn>(expanded).unwrap_or_else(|error| panic!("{item}: {error}"));
    }
}

#[test]
fn an_error_names_its_reason_at_the_part_of_the_function() {
    let served = "Result<User, E> { load(id).await }";
    for (item, at, reason) in [
        (format!("const fn f(id: u64) -> {served}"), "const", "cannot ask a cache"),
        (format!("unsafe fn f(id: u64) -> {served}"), "unsafe", "safe function"),
        (
            format!("fn f(id: u64, (a, b): (u8, u8)) -> {served}"),
            "(a, b)",
            "give the argument a name",
        ),
        (format!("fn f(id: u64, db: &Db) -> {served}"), "db", "add `skip(db)`"),
        ("fn f(id: u64) -> Result<User, E>;".to_owned(), ";", "has no body"),
        ("struct User { id: u64 }".to_owned(), "struct", "belongs on a function"),
        ("fn f(id: u64) -> User { x }".to_owned(), "User", "returns `Result<T, E>`"),
        (
            "fn f(id: u64) -> Option<User> { x }".to_owned(),
            "Option<User>",
            "returns `Result<T, E>`",
        ),
        ("fn f(id: u64) -> fmt::Result { x }".to_owned(), "fmt::Result", "spell the type"),
        ("fn f(id: u64) -> Result<(), E> { x }".to_owned(), "()", "no value to cache"),
        ("fn f(id: u64) -> Result<&'static str, E> { x }".to_owned(), "&", "an owned type"),
        ("fn f(id: u64) -> Result<Cow<'_, str>, E> { x }".to_owned(), "'", "an owned type"),
        ("fn f(id: u64) -> Result<impl Serialize, E> { x }".to_owned(), "impl", "name a type"),
        ("fn f<T>(id: T) -> Result<Vec<T>, E> { x }".to_owned(), "T", "one function per type"),
        ("fn f<const N: usize>(id: u8) -> Result<[u8; N], E> { x }".to_owned(), "N", "per type"),
        (
            "fn f(id: u64) -> Pin<Box<dyn Future<Output = R>>> { x }".to_owned(),
            "Pin<Box<dyn Future<Output = R>>>",
            "`async_trait`",
        ),
    ] {
        refused(ID, &item, at, reason);
    }
    assert!(expand_text(ID, "fn f(id: u64) { x }").is_err());
}

#[test]
fn an_error_names_its_reason_at_the_argument_of_the_attribute() {
    let item = "async fn f(id: u64) -> Result<User, E> { load(id).await }";
    for (attribute, at, reason) in [
        (r#"cache = C, key = "{id}""#, r#""{id}""#, "begin the key with a namespace"),
        (r#"cache = C, key = "user:{name}""#, r#""user:{name}""#, "no argument `name`"),
        (
            r#"cache = C, key = "user:{self.x}/{id}""#,
            r#""user:{self.x}/{id}""#,
            "no argument `self`",
        ),
        (r#"cache = C, key = "user:{id}", ttl = "60""#, r#""60""#, "whole number with a unit"),
        (r#"cache = C, key = "user:{id}", ttl = "0s""#, r#""0s""#, "1 ms at least"),
        (r#"cache = C, key = "user:{id}", not_found_ttl = "1s""#, "not_found_ttl", "for `Option`"),
        (r#"cache = C, key = "user:{id}", skip(db)"#, "db", "no argument `db` to skip"),
        (r#"cache = C, key = "user:{id}", skip(id)"#, "id", "cannot be skipped"),
        (r#"cache = C, key = "user:{id}", time = "1s""#, "time", "no argument of `cached`"),
        (r#"cache = C, key = "user:{id}", key = "x:y""#, "key", "is set twice"),
        ("cache = C, key = id", "id", "expected string literal"),
    ] {
        refused(attribute, item, at, reason);
    }
    for (attribute, reason) in [("", "needs a key"), (r#"key = "user:{id}""#, "needs a cache")] {
        let error = expand_text(attribute, item).unwrap_err().to_string();
        assert!(error.contains(reason), "{attribute}: {error}");
    }
}

#[test]
fn the_body_is_not_changed() {
    let body = quote!({
        let view = 1;
        return load(view, id).await;
    });
    let item = quote!(async fn f(id: u64) -> Result<User, E> #body);
    let expanded = expand(ID.parse().unwrap(), item).unwrap().to_string();
    assert!(expanded.contains(&body.to_string()), "{expanded}");
}
