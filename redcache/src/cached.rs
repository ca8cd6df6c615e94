//! The attribute `cached`, and the parts of its functions that need no macro.
//!
//! All items except the attribute are public only for its expansion, and are not part of the API.

#[cfg(feature = "blocking")]
pub(crate) mod blocking_reads;
pub(crate) mod reads;
pub(crate) mod views;

/// Read the results of a function through a cache.
///
/// A call returns the cached value of its key. On a miss, the function runs once for all concurrent
/// callers in all processes, and its value is stored. An error is not stored.
///
/// ```
/// use std::sync::OnceLock;
/// use redcache::{BoxError, Cache, cached};
///
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct User { name: String }
/// # struct Database;
/// # impl Database {
/// #     async fn select(&self, _: u64) -> Result<Option<User>, BoxError> { Ok(None) }
/// # }
/// static CACHE: OnceLock<Cache> = OnceLock::new();
///
/// #[cached(cache = CACHE.get().unwrap(), key = "user:{id}", ttl = "60s", skip(database))]
/// async fn user(database: &Database, id: u64) -> Result<Option<User>, BoxError> {
///     database.select(id).await
/// }
///
/// struct Users {
///     cache: Cache,
///     database: Database,
/// }
///
/// impl Users {
///     #[cached(cache = self.cache, key = "user:{id}", ttl = "60s", not_found_ttl = "5s")]
///     async fn find(&self, id: u64) -> Result<Option<User>, BoxError> {
///         self.database.select(id).await
///     }
/// }
/// ```
///
/// A function with `cached` is a shorthand for a typed view. A view of the same namespace removes
/// its values: for the functions above, `cache.typed::<u64, User, _>("user", Json)`. The key of a
/// pattern with several placeholders is a tuple.
///
/// # Arguments
///
/// - `cache = EXPRESSION`, required: a [`Cache`](crate::Cache) for an `async fn`, a
///   `redcache::blocking::Cache` for another `fn`, or a value that dereferences to one; it may use
///   the arguments of the function and `self`.
/// - `key = "PATTERN"`, required: the keys, as described below.
/// - `ttl = "60s"`: the [TTL](crate::TypedCacheBuilder::ttl) of values: a whole number with a unit
///   (`ms`, `s`, `m`, `h`, `d`), or an expression of type [`Duration`](std::time::Duration).
/// - `not_found_ttl = "5s"`: the [TTL of "not found"](crate::TypedCacheBuilder::not_found_ttl), for
///   functions that return an `Option`.
/// - `jitter = 0.1`: the random part by which each TTL is
///   [shortened](crate::TypedCacheBuilder::jitter).
/// - `codec = EXPRESSION`: the [codec](crate::Codec); without it, [`Json`](crate::Json).
/// - `schema_version = 2`: the [version](crate::TypedCacheBuilder::schema_version) of the meaning
///   of values.
/// - `clearable`: a namespace that can be [cleared](crate::TypedCacheBuilder::clearable).
/// - `skip(NAME, …)`: arguments of the function that its result does not depend on.
/// - `crate = PATH`: the path of the crate `redcache`, if it is not `::redcache`.
///
/// The settings are evaluated at the first call with each cache.
///
/// # Keys
///
/// ```text
/// PATTERN     = NAMESPACE ":" PART { "/" PART }
/// PART        = TEXT | "{" PLACEHOLDER "}"
/// PLACEHOLDER = ( ARGUMENT | "self" ) { "." FIELD }
/// ```
///
/// The last `:` before the placeholders ends the namespace. A placeholder names an argument or one
/// of its fields, of a type that implements [`CacheKey`](crate::CacheKey): integers, text, tuples
/// and references to them, for example. Parts are escaped, so that different arguments never share
/// a key. Each argument is in the key or in `skip`. `self` need not be: if the result depends on
/// it, name the field, as in `"user:{self.tenant}/{id}"`. A placeholder may name a `const`
/// parameter of the function, and each generic parameter that no argument determines is in the key
/// or in `skip`. The name of a raw identifier has no `r#` in a placeholder.
///
/// # Functions
///
/// A function is async or not, and may be a method, take references and have generic arguments. It
/// returns `Result<T, E>` or `Result<Option<T>, E>`, where `T` is `V` or `Arc<V>`. A hit clones a
/// `V`, and costs no copy for an `Arc<V>`. The codec encodes `V`. `V` has no lifetime parameter,
/// and does not depend on a generic parameter of the function or its `impl`.
///
/// All types of a generic `impl` share one function, and so its keys. If `V` depends on them, the
/// compile error is "generic parameters may not be used in const operations". Write one method per
/// type, each with a namespace of its own:
///
/// ```
/// use redcache::{BoxError, Cache, cached};
///
/// struct Rows<T> {
///     cache: Cache,
///     first: T,
/// }
///
/// impl Rows<u64> {
///     #[cached(cache = self.cache, key = "number:{id}")]
///     async fn find(&self, id: u64) -> Result<u64, BoxError> {
///         Ok(self.first)
///     }
/// }
///
/// impl Rows<String> {
///     #[cached(cache = self.cache, key = "text:{id}")]
///     async fn find(&self, id: u64) -> Result<String, BoxError> {
///         Ok(self.first.clone())
///     }
/// }
/// ```
///
/// `E` implements `Into<BoxError>`, because callers share one error, and `From<LoadError<E>>`,
/// because the cache has its own errors. `BoxError` and `anyhow::Error` implement both. A custom
/// error type needs one conversion:
///
/// ```
/// use redcache::LoadError;
///
/// #[derive(Debug, Clone, PartialEq)]
/// enum UserError {
///     Banned,
///     Cache(String),
/// }
/// # impl std::fmt::Display for UserError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #         write!(f, "{self:?}")
/// #     }
/// # }
/// # impl std::error::Error for UserError {}
///
/// impl From<LoadError<UserError>> for UserError {
///     fn from(error: LoadError<Self>) -> Self {
///         match error.loader_error() {
///             Some(error) => (**error).clone(),
///             None => Self::Cache(error.to_string()),
///         }
///     }
/// }
/// ```
///
/// A function that does not return an `Option` runs if its key is cached as "not found", and its
/// value replaces the "not found". A function must not call itself with the same key, because it
/// would wait for itself. A `const fn`, an `unsafe fn` and a function without a body are refused,
/// and so are argument patterns: each compile error points at the part of your function that is
/// wrong. `async_trait` hides the result of a method, so put `cached` on a method that the trait's
/// method calls.
///
/// # Errors
///
/// The function returns its own errors, and those of [`TypedCache::get_with`].
///
/// [`TypedCache::get_with`]: crate::TypedCache::get_with
pub use redcache_macros::cached;

/// A method whose values depend on the type of its `impl` is refused.
///
/// ```compile_fail
/// use redcache::{BoxError, Cache, cached};
///
/// struct Rows<T>(Cache, T);
///
/// impl<T> Rows<T>
/// where
///     T: Clone + Send + Sync + serde::Serialize + serde::de::DeserializeOwned + 'static,
/// {
///     #[cached(cache = self.0, key = "row:{id}")]
///     async fn find(&self, id: u64) -> Result<T, BoxError> {
///         Ok(self.1.clone())
///     }
/// }
/// ```
///
/// The same method compiles with a value of another type.
///
/// ```
/// use redcache::{BoxError, Cache, cached};
///
/// struct Rows<T>(Cache, T);
///
/// impl<T> Rows<T>
/// where
///     T: Clone + Send + Sync + serde::Serialize + serde::de::DeserializeOwned + 'static,
/// {
///     #[cached(cache = self.0, key = "row:{id}")]
///     async fn find(&self, id: u64) -> Result<u8, BoxError> {
///         drop(self.1.clone());
///         Ok(1)
///     }
/// }
/// ```
#[cfg(doctest)]
struct GenericImpl;
