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
        (ID, r#"extern "C" fn f(id: u64) -> Result<User, E> where User: Clone { load(id) }"#),
        (ID, "async fn f<'a, T: Db>(&'a self, id: &'a T) -> Result<User, E> { load(id).await }"),
        (
            r#"cache = C, key = "a:{N}/{type}/{user.type}", skip(T, r#async)"#,
            "fn f<T, const N: usize>(r#type: u8, user: U, r#async: u8) -> Result<u8, E> { load() }",
        ),
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
        (
            format!("fn f(User {{ id }}: User) -> {served}"),
            "User { id }",
            "give the argument a name",
        ),
        (format!("fn f(id @ 1..: u64) -> {served}"), "id @ 1..", "give the argument a name"),
        (format!("fn f<T: Table>(id: u64) -> {served}"), "T", "add `skip(T)`"),
        (format!("fn f<const N: u8>(id: u64) -> {served}"), "N", "write a constant into the key"),
        ("fn find(id: u64) { x }".to_owned(), "find", "returns `Result<T, E>`"),
        (
            "fn f(id: u64) -> impl Future<Output = R> { x }".to_owned(),
            "impl Future<Output = R>",
            "returns `Result",
        ),
        (
            "fn f(id: u64) -> Answer<User> { x }".to_owned(),
            "Answer<User>",
            "returns `Result<T, E>`",
        ),
        ("fn f(id: u64) -> Result<Option<()>, E> { x }".to_owned(), "()", "no value to cache"),
    ] {
        refused(ID, &item, at, reason);
    }
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
        (r#"cache = C, key = "user:{id}", ttl = "abc""#, r#""abc""#, "`abc` is no duration"),
        (r#"cache = C, key = "user:{id}", ttl = "-1s""#, r#""-1s""#, "`-1s` is no duration"),
        (r#"cache = C, key = "user:{id}", ttl = """#, r#""""#, "write a whole number"),
        (r#"cache = C, key = """#, r#""""#, "begin the key with a namespace"),
        (r#"cache = C, key = "user:{id""#, r#""user:{id""#, "do not match"),
        (r#"cache = C, key = "user:{{id}}""#, r#""user:{{id}}""#, "no escapes"),
        (r#"cache = C, key = "user:{id}", ttl = "0s""#, r#""0s""#, "1 ms at least"),
        (r#"cache = C, key = "user:{id}", not_found_ttl = "1s""#, "not_found_ttl", "for `Option`"),
        (r#"cache = C, key = "user:{id}", skip(db)"#, "db", "no argument `db` to skip"),
        (r#"cache = C, key = "user:{id}", skip(id)"#, "id", "cannot be skipped"),
        (r#"cache = C, key = "user:{id}", time = "1s""#, "time", "no argument of `cached`"),
        (r#"cache = C, key = "user:{id}", key = "x:y""#, "key", "is set twice"),
        (r#"cache = C, key = "user:{id}", ttl"#, "ttl", "needs a value"),
        (r#"cache = C, key = "user:{id}", ttl ="#, "ttl", "needs a value"),
        (r#"cache C, key = "user:{id}""#, "cache", "needs a value"),
        (r#"cache = C, key = "user:{id}", clearable = true"#, "clearable", "has no value"),
        (r#"cache = C, key = "user:{id}", skip"#, "skip", "as in `skip(db)`"),
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
fn the_value_is_in_a_length_which_rejects_parameters_of_the_impl() {
    let item = "async fn f(&self, id: u64) -> Result<Option<T>, E> { load(id).await }";
    let expanded = expand_text(ID, item).unwrap().to_string().replace(' ', "");
    let length = "[();{let_=::core::marker::PhantomData::<T>;0}]";
    assert!(expanded.contains(length), "{expanded}");
}

#[test]
fn attributes_and_visibility_are_kept() {
    let item = quote! {
        /// Return a user.
        #[must_use]
        pub(crate) async fn f(id: u64) -> Result<User, E>
        where
            User: Clone,
        { load(id).await }
    };
    let before_body = item.to_string();
    let before_body = before_body.split_once('{').unwrap().0.to_owned();
    let expanded = expand(ID.parse().unwrap(), item).unwrap().to_string();
    assert!(expanded.starts_with(&before_body), "{expanded}");
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
